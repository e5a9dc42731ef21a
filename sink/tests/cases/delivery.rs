//! Webhooks: signatures, order, retries, isolation of failures, cursors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use laneway_log::Topic;
use laneway_sink::settings::DeliverySettings;
use laneway_tenancy::DestinationId;
use laneway_testkit::webhook::Received;
use laneway_testkit::{Answer, Webhook, wait};

use crate::rig::receivers::{Receivers, SECRET, settings};
use crate::rig::{BOUND, Rig};

fn first() -> DestinationId {
    DestinationId::from_u128(1)
}

fn second() -> DestinationId {
    DestinationId::from_u128(2)
}

fn header<'a>(request: &'a Received, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

/// Event ids that were accepted, in the order of arrival, by device.
fn accepted(receiver: &Webhook) -> BTreeMap<String, Vec<String>> {
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

fn expected(device: &str, numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|n| format!("{device}-{n}.1")).collect()
}

async fn all_accepted(receiver: &Webhook, count: usize) {
    let what = format!("{count} accepted webhooks");
    wait::until(&what, BOUND, || async { receiver.accepted() >= count })
        .await
        .unwrap();
}

/// Waits until a new destination is where it begins: what is appended from now on reaches it.
async fn begun(rig: &Rig) {
    wait::until("the lanes' first commits", BOUND, || async {
        let committed = rig
            .log
            .committed("sink", Topic::TenantStreams)
            .await
            .unwrap();
        committed.iter().all(Option::is_some)
    })
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
    begun(&rig).await;
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
    begun(&rig).await;
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
    begun(&rig).await;
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
    begun(&rig).await;
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
async fn kills_lose_nothing_and_keep_first_deliveries_in_order() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver =
        Webhook::start(|_, _| Answer::status(200).after(std::time::Duration::from_millis(1)))
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
    begun(&rig).await;
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
async fn an_event_that_is_refused_while_others_succeed_is_parked() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let attempts: Mutex<HashMap<String, usize>> = Mutex::default();
    let receiver = Webhook::start(move |head, _| {
        let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
        *attempts.lock().unwrap().entry(id.clone()).or_default() += 1;
        Answer::status(if id == "a-3.1" { 422 } else { 200 })
    })
    .await
    .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(
        &receivers,
        DeliverySettings {
            park_after: 3,
            ..settings()
        },
    );
    begun(&rig).await;
    rig.append(&tenant, "a", 0..6).await;
    let mut n = 0;
    // Others go on succeeding until the refused one is out of the way.
    while accepted(&receiver).get("a").is_none_or(|ids| ids.len() < 5) {
        rig.append(&tenant, "b", [n]).await;
        n += 1;
        all_accepted(&receiver, 3 + n as usize).await;
    }
    assert_eq!(
        accepted(&receiver)["a"],
        ["a-0.1", "a-1.1", "a-2.1", "a-4.1", "a-5.1"]
    );
    running.stop().await;
    let mut reader = rig
        .log
        .reader(Topic::SinkCursors, vec![(0, 0)])
        .await
        .unwrap();
    let key = format!("{}/{}/dead/a-3.1", tenant.id, first());
    let letter = loop {
        let batch = reader.next().await.unwrap();
        let found = batch
            .iter()
            .find(|r| r.key == key.as_bytes())
            .and_then(|r| r.value.map(<[u8]>::to_vec));
        if let Some(value) = found {
            break rig
                .codecs
                .decode::<laneway_schemas::SinkCursor>(&value)
                .unwrap();
        }
    };
    assert!(letter.dead.unwrap().contains("422"));
}
