//! Webhooks over TLS.

use laneway_log::Topic;
use laneway_schemas::DestinationHealth;
use laneway_schemas::sink::health_key;
use laneway_testkit::{Webhook, certificates, wait};

use super::delivery::{accepted, all_accepted, expected, first};
use crate::rig::receivers::{Receivers, settings};
use crate::rig::{BOUND, Rig};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_delivered_to_over_tls_where_its_authority_is_trusted() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let issued = certificates::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &issued.ca_pem).unwrap();
    let receiver = Webhook::accepting_tls(&issued).await.unwrap();
    let urls = [(first(), receiver.url("/hook"))];
    let receivers = Receivers::trusting(ca_file.to_str().unwrap(), urls);
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", 0..20).await;
    all_accepted(&receiver, 20).await;
    assert_eq!(accepted(&receiver)["a"], expected("a", 0..20));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_is_a_failed_attempt_that_says_why() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::accepting_tls(&certificates::generate().unwrap())
        .await
        .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/hook"))]);
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", [0]).await;
    let error = wait::eventually("the failure to be told", BOUND, || async {
        let table = rig.table(Topic::SinkSignals, 0).await;
        let value = table.get(&health_key(tenant.id, first()))?;
        rig.codecs.decode::<DestinationHealth>(value).unwrap().error
    })
    .await
    .unwrap();
    for part in [
        "TLS with 127.0.0.1 failed",
        "UnknownIssuer",
        "check its certificate",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(receiver.count(), 0);
    running.stop().await;
}
