//! The conformance suite on Apache Kafka, one broker.

mod conformance;
mod kafka;

conformance_suite!(kafka::Place<1, false>);

/// What only Kafka has: transactions of others, topic settings, brokers that go away.
mod only_kafka;
