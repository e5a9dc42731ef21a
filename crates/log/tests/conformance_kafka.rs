//! The conformance suite on Apache Kafka, one broker.

mod conformance;
mod kafka;

conformance_suite!(kafka::Place<1, false>);
