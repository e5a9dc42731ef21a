//! What sinks know together of a destination: its breaker.

use std::time::Duration;

use laneway_log::Topic;
use laneway_schemas::DestinationHealth;
use laneway_schemas::sink::health_key;
use laneway_sink::settings::DeliverySettings;
use laneway_testkit::{Answer, Webhook, wait};

use super::delivery::{accepted, first};
use crate::rig::receivers::{Receivers, settings};
use crate::rig::{BOUND, Rig, Tenant};

/// Opens after three failures, for 1.5 to 6 s.
fn slow() -> DeliverySettings {
    DeliverySettings {
        breaker_failures: 3,
        backoff_ms: 1500,
        max_backoff_ms: 60_000,
        ..settings()
    }
}

async fn health(rig: &Rig, tenant: &Tenant) -> Option<DestinationHealth> {
    let table = rig.table(Topic::SinkSignals, 0).await;
    let value = table.get(&health_key(tenant.id, first()))?;
    Some(rig.codecs.decode(value).unwrap())
}

async fn open(rig: &Rig, tenant: &Tenant) -> DestinationHealth {
    wait::eventually("the breaker to be told as open", BOUND, || async {
        health(rig, tenant).await.filter(|h| h.open)
    })
    .await
    .unwrap()
}

/// Devices of that lane.
fn devices(tenant: &Tenant, lane: u32) -> impl Iterator<Item = String> {
    let placement = tenant.placement.clone();
    (0..)
        .map(|n| format!("device-{n}"))
        .filter(move |device| placement.lane(device) == lane)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_that_one_sink_opens_holds_the_others_back_until_one_probe_closes_it_for_all() {
    let rig = Rig::new(2).await;
    let tenant = rig.tenant(1, 2).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::start(|_, _| Answer::status(500)).await.unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let one = rig.deliver_as("sink-1", &receivers, slow());
    let two = rig.deliver_as("sink-2", &receivers, slow());
    wait::until("the lanes' first commits", BOUND, || async {
        let committed = rig.log.committed("sink", Topic::TenantStreams).await;
        committed.unwrap().iter().all(Option::is_some)
    })
    .await
    .unwrap();
    // Each of the two has one of the lanes.
    for device in devices(&tenant, 0).take(3) {
        rig.append(&tenant, &device, [0]).await;
    }
    let told = open(&rig, &tenant).await;
    assert_eq!(
        told.error.as_deref(),
        Some("answered 500 Internal Server Error")
    );
    // Within a second the other one knows.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = receiver.count();
    for device in devices(&tenant, 1).take(3) {
        rig.append(&tenant, &device, [0]).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.count(), before, "nobody tries while it is open");
    receiver.answer(|_, _| Answer::status(200));
    wait::until("everything", BOUND, || async {
        accepted(&receiver).len() == 6
    })
    .await
    .unwrap();
    let requests = receiver.received();
    let probe = &requests[before];
    assert!(probe.status.is_success());
    let of_probe: serde_json::Value = serde_json::from_slice(&probe.body).unwrap();
    let device = of_probe["subject"].as_str().unwrap();
    assert_eq!(tenant.placement.lane(device), 0, "who opened it asks");
    let closed = requests
        .iter()
        .skip(before)
        .map(|r| r.arrival)
        .max()
        .unwrap();
    // The other one would have asked by itself three seconds later.
    assert!(closed - probe.arrival < Duration::from_secs(2), "for all");
    wait::until("the breaker to be told as closed", BOUND, || async {
        health(&rig, &tenant).await.is_some_and(|h| !h.open)
    })
    .await
    .unwrap();
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_forget_an_open_breaker() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::start(|_, _| Answer::status(503).header("retry-after", "4"))
        .await
        .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(&receivers, slow());
    rig.append(&tenant, "a", [0]).await;
    open(&rig, &tenant).await;
    let asked = receiver.received()[0].arrival;
    running.kill().await;
    receiver.answer(|_, _| Answer::status(200));
    let before = receiver.count();
    let running = rig.deliver(&receivers, slow());
    wait::until("the delivery", BOUND, || async { receiver.accepted() == 1 })
        .await
        .unwrap();
    let waited = receiver.received()[before].arrival - asked;
    assert!(waited >= Duration::from_millis(3900), "{waited:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_deleted_leaves_nothing_behind() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let receiver = Webhook::start(|_, _| Answer::status(500)).await.unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    for while_it_runs in [true, false] {
        rig.destination(&tenant, first(), true).await;
        let mut running = rig.deliver(&receivers, slow());
        for device in ["a", "b", "c"] {
            rig.append(&tenant, device, [0]).await;
        }
        open(&rig, &tenant).await;
        wait::until("its cursor", BOUND, || async {
            !rig.table(Topic::SinkCursors, 0).await.is_empty()
        })
        .await
        .unwrap();
        if while_it_runs {
            rig.destination(&tenant, first(), false).await;
        } else {
            running.stop().await;
            rig.destination(&tenant, first(), false).await;
            running = rig.deliver(&receivers, slow());
        }
        wait::until("nothing to be left", BOUND, || async {
            rig.table(Topic::SinkCursors, 0).await.is_empty()
                && rig.table(Topic::SinkSignals, 0).await.is_empty()
        })
        .await
        .unwrap();
        running.stop().await;
    }
}
