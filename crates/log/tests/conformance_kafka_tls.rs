//! The conformance suite on Apache Kafka, over SASL_SSL with SCRAM-SHA-512.

mod conformance;
mod kafka;

use conformance::Backend;
use laneway_log::LogError;

type Place = kafka::Place<1, true>;

conformance_suite!(Place);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_at_the_start_and_not_shown() {
    let case = async {
        let place = Place::fresh("password").await;
        let opened = place
            .open_with(|c| c.kafka.sasl.password = "not-the-password".to_owned())
            .await;
        match opened.map(|_| ()) {
            Err(LogError::Config(said)) => {
                assert!(said.contains("log.kafka.sasl"), "{said}");
                assert!(said.contains("SASL"), "{said}");
                assert!(!said.contains("not-the-password"), "{said}");
            }
            other => panic!("{other:?}"),
        }
    };
    let started = std::time::Instant::now();
    conformance::support::bounded("password", case).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(40));
}
