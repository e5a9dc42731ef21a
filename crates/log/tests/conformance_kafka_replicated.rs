//! The conformance suite on three Kafka brokers: replication factor 3, two in sync.

mod conformance;
mod kafka;

conformance_suite!(kafka::Place<3, false>);
