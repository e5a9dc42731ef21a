//! The conformance suite on Apache Kafka, over SASL_SSL with SCRAM-SHA-512.

mod conformance;
mod kafka;

conformance_suite!(kafka::Place<1, true>);
