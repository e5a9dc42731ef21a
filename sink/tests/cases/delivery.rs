//! Webhooks: signatures, order, retries, isolation of failures, cursors.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use laneway_sink::settings::DeliverySettings;
use laneway_tenancy::DestinationId;
use laneway_tenancy::control::DestinationState;
use laneway_testkit::webhook::Received;
use laneway_testkit::{Answer, Webhook, wait};

use crate::rig::receivers::{Receivers, SECRET, settings};
use crate::rig::{BOUND, Rig};

pub(super) fn first() -> DestinationId {
    DestinationId::from_u128(1)
}

fn second() -> DestinationId {
    DestinationId::from_u128(2)
}

pub(super) fn header<'a>(request: &'a Received, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

/// Event ids that were accepted, in the order of arrival, by device.
pub(super) fn accepted(receiver: &Webhook) -> BTreeMap<String, Vec<String>> {
    let mut devices: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in receiver.received().iter().filter(|r| r.status.is_success()) {
        let event: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let device = event["subject"].as_str().unwrap().to_owned();
        devices
            .entry(device)
            .or_default()
            .push(header(request, "webhook-id").to_owned());
    }
    devices
}

pub(super) fn expected(device: &str, numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|n| format!("{device}-{n}.1")).collect()
}

pub(super) async fn all_accepted(receiver: &Webhook, count: usize) {
    let what = format!("{count} accepted webhooks");
    wait::until(&what, BOUND, || async { receiver.accepted() >= count })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_is_signed_and_keeps_the_events_id() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let tries = AtomicUsize::new(0);
    let receiver = Webhook::start(move |_, _| {
        Answer::status(if tries.fetch_add(1, Ordering::Relaxed) < 2 {
            500
        } else {
            204
        })
    })
    .await
    .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/hook?x=1"))]);
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", [7]).await;
    all_accepted(&receiver, 1).await;
    let requests = receiver.received();
    assert_eq!(requests.len(), 3);
    let secret = STANDARD
        .decode(SECRET.strip_prefix("whsec_").unwrap())
        .unwrap();
    for request in &requests {
        assert_eq!(header(request, "webhook-id"), "a-7.1");
        assert_eq!(
            header(request, "content-type"),
            "application/cloudevents+json"
        );
        let signed = [
            header(request, "webhook-id"),
            header(request, "webhook-timestamp"),
            "",
        ]
        .join(".");
        let signed = [signed.as_bytes(), &request.body].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &signed);
        assert_eq!(
            header(request, "webhook-signature"),
            format!("v1,{}", STANDARD.encode(tag))
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_keeps_its_order_under_failures() {
    let rig = Rig::new(2).await;
    let tenant = rig.tenant(1, 2).await;
    rig.destination(&tenant, first(), true).await;
    let tries = AtomicUsize::new(0);
    let receiver = Webhook::start(move |_, _| {
        Answer::status(if tries.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            503
        } else {
            200
        })
    })
    .await
    .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(&receivers, settings());
    for n in 0..30 {
        for device in ["a", "b", "c", "d"] {
            rig.append(&tenant, device, [n]).await;
        }
    }
    all_accepted(&receiver, 120).await;
    for (device, ids) in accepted(&receiver) {
        assert_eq!(ids, expected(&device, 0..30));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_fails_delays_no_other_and_loses_nothing() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let other = rig.tenant(2, 1).await;
    rig.destination(&tenant, first(), true).await;
    rig.destination(&other, second(), true).await;
    let failing = Webhook::start(|_, _| Answer::status(500)).await.unwrap();
    let healthy = Webhook::accepting().await.unwrap();
    let receivers = Receivers::new([(first(), failing.url("/")), (second(), healthy.url("/"))]);
    // So little room that the failing one falls behind the head at once.
    let running = rig.deliver(
        &receivers,
        DeliverySettings {
            pending_events: 4,
            ..settings()
        },
    );
    for n in 0..200 {
        rig.append(&tenant, "a", [n]).await;
        rig.append(&other, "b", [n]).await;
    }
    all_accepted(&healthy, 200).await;
    assert_eq!(accepted(&healthy)["b"], expected("b", 0..200));
    assert_eq!(failing.accepted(), 0);
    failing.answer(|_, _| Answer::status(200));
    all_accepted(&failing, 200).await;
    assert_eq!(accepted(&failing)["a"], expected("a", 0..200));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_goes_on_from_the_cursors_without_a_repeat() {
    let rig = Rig::new(2).await;
    let tenant = rig.tenant(1, 2).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::accepting().await.unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", 0..50).await;
    rig.append(&tenant, "b", 0..50).await;
    all_accepted(&receiver, 100).await;
    running.stop().await;
    rig.append(&tenant, "a", 50..80).await;
    let running = rig.deliver(&receivers, settings());
    all_accepted(&receiver, 130).await;
    running.stop().await;
    assert_eq!(
        accepted(&receiver),
        BTreeMap::from([
            ("a".to_owned(), expected("a", 0..80)),
            ("b".to_owned(), expected("b", 0..50)),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_begins_with_what_was_received_from_its_creation_on() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let (early, late) = (
        Webhook::accepting().await.unwrap(),
        Webhook::accepting().await.unwrap(),
    );
    let receivers = Receivers::new([(first(), early.url("/")), (second(), late.url("/"))]);
    // Nobody has ever delivered from the lane.
    rig.append(&tenant, "a", 0..10).await;
    rig.created(&tenant, first(), 5).await;
    let running = rig.deliver(&receivers, settings());
    all_accepted(&early, 5).await;
    // The head has passed what came between a creation and the news of it.
    rig.append(&tenant, "a", 10..20).await;
    all_accepted(&early, 15).await;
    rig.created(&tenant, second(), 12).await;
    all_accepted(&late, 8).await;
    running.stop().await;
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", 20..25).await;
    all_accepted(&early, 20).await;
    all_accepted(&late, 13).await;
    running.stop().await;
    assert_eq!(accepted(&early)["a"], expected("a", 5..25));
    assert_eq!(accepted(&late)["a"], expected("a", 12..25));
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_keep_first_deliveries_in_order() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::start(|_, _| Answer::status(200).after(Duration::from_millis(1)))
        .await
        .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let mut running = rig.deliver(
        &receivers,
        DeliverySettings {
            pending_events: 16,
            ..settings()
        },
    );
    rig.append(&tenant, "a", 0..300).await;
    rig.append(&tenant, "b", 0..300).await;
    for kill in 1..=4 {
        all_accepted(&receiver, kill * 100).await;
        running.kill().await;
        running = rig.deliver(
            &receivers,
            DeliverySettings {
                pending_events: 16,
                ..settings()
            },
        );
    }
    wait::until("every event", BOUND, || async {
        accepted(&receiver)
            .values()
            .flatten()
            .collect::<HashSet<_>>()
            .len()
            == 600
    })
    .await
    .unwrap();
    for (device, ids) in accepted(&receiver) {
        let mut seen = HashSet::new();
        let first: Vec<String> = ids
            .into_iter()
            .filter(|id| seen.insert(id.clone()))
            .collect();
        assert_eq!(
            first,
            expected(&device, 0..300),
            "{device}: first deliveries in order"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_gets_nothing_while_disabled_and_then_all_that_it_missed() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let other = rig.tenant(2, 1).await;
    rig.destination(&tenant, first(), true).await;
    rig.destination(&other, second(), true).await;
    let (receiver, beside) = (
        Webhook::accepting().await.unwrap(),
        Webhook::accepting().await.unwrap(),
    );
    let receivers = Receivers::new([(first(), receiver.url("/")), (second(), beside.url("/"))]);
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", 0..5).await;
    all_accepted(&receiver, 5).await;
    rig.set_destination(&tenant, first(), Some(DestinationState::Disabled))
        .await;
    rig.append(&tenant, "a", 5..10).await;
    // What came later in the same lane has been delivered to another destination.
    rig.append(&other, "b", 0..5).await;
    all_accepted(&beside, 5).await;
    assert_eq!(receiver.count(), 5);
    // A restart does not make it forget where it was.
    running.stop().await;
    let running = rig.deliver(&receivers, settings());
    rig.append(&tenant, "a", 10..15).await;
    rig.append(&other, "b", 5..10).await;
    all_accepted(&beside, 10).await;
    assert_eq!(receiver.count(), 5);
    rig.set_destination(&tenant, first(), Some(DestinationState::Active))
        .await;
    all_accepted(&receiver, 15).await;
    assert_eq!(accepted(&receiver)["a"], expected("a", 0..15));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_names_a_time_is_left_alone_until_then() {
    for status in [429, 503] {
        let rig = Rig::new(1).await;
        let tenant = rig.tenant(1, 1).await;
        rig.destination(&tenant, first(), true).await;
        let tries = AtomicUsize::new(0);
        let receiver = Webhook::start(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::status(status).header("retry-after", "2"),
            _ => Answer::status(200),
        })
        .await
        .unwrap();
        let receivers = Receivers::new([(first(), receiver.url("/"))]);
        // One at a time: the second is tried when the first has its answer.
        let one = DeliverySettings {
            concurrency: 1,
            ..settings()
        };
        let running = rig.deliver(&receivers, one);
        rig.append(&tenant, "a", [0]).await;
        receiver.wait_for(1, BOUND).await.unwrap();
        // Those that come meanwhile wait, too.
        rig.append(&tenant, "b", [0]).await;
        all_accepted(&receiver, 2).await;
        let requests = receiver.received();
        let waited = requests[1].arrival - requests[0].arrival;
        assert!(
            waited >= Duration::from_millis(1990),
            "{status}: {waited:?}"
        );
        assert!(waited < Duration::from_secs(10), "{status}: {waited:?}");
        running.stop().await;
    }
}
