//! Resuming, and passing from history to live.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::rig::client::{Subscriber, ids};
use crate::rig::{Rig, TOKEN_KEY};
use laneway_sink::position::{LanePosition, TokenKey};

fn by_lane(events: &[Value]) -> BTreeMap<u64, Vec<(u64, String)>> {
    let mut lanes: BTreeMap<u64, Vec<(u64, String)>> = BTreeMap::new();
    for event in events {
        let lane = event["position"][1].as_u64().unwrap();
        let offset = event["position"][2].as_u64().unwrap();
        lanes
            .entry(lane)
            .or_default()
            .push((offset, event["event"]["id"].as_str().unwrap().to_owned()));
    }
    lanes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_resumes_from_every_position_without_gap_or_repeat() {
    let rig = Rig::new(4).await;
    let tenant = rig.tenant(1, 2).await;
    let address = rig.sink(|_| {}).await;
    for n in 0..10 {
        for device in ["a", "b", "c", "d", "e"] {
            rig.append(&tenant, device, [n]).await;
        }
    }
    let mut first = Subscriber::open(address, &tenant.key, json!("earliest")).await;
    let all = first.events(50).await;
    assert!(by_lane(&all).len() > 1, "the devices use both lanes");
    let beginning: Vec<LanePosition> = tenant
        .placement
        .lanes
        .iter()
        .map(|lane| LanePosition {
            generation: 1,
            lane: *lane,
            next: 0,
        })
        .collect();
    let token = TokenKey::new(TOKEN_KEY)
        .unwrap()
        .seal(&tenant.scope, &beginning);
    for received in 0..50 {
        let mut last: BTreeMap<u64, Value> = BTreeMap::new();
        for event in &all[..received] {
            last.insert(
                event["position"][1].as_u64().unwrap(),
                event["position"].clone(),
            );
        }
        let positions: Vec<Value> = last.into_values().collect();
        let from = json!({ "token": token, "positions": positions });
        let mut again = Subscriber::open(address, &tenant.key, from).await;
        let rest = again.events(50 - received).await;
        assert_eq!(
            by_lane(&rest),
            by_lane(&all[received..]),
            "after {received} events"
        );
        again.assert_silent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_passes_into_live_without_gap_or_repeat_while_more_is_appended() {
    let rig = Arc::new(Rig::new(4).await);
    let tenant = rig.tenant(1, 2).await;
    let address = rig.sink(|_| {}).await;
    const TOTAL: i64 = 3000;
    let (written, mut progress) = tokio::sync::watch::channel(0);
    let writer = {
        let (rig, tenant) = (Arc::clone(&rig), tenant.clone());
        tokio::spawn(async move {
            for start in (0..TOTAL).step_by(20) {
                for device in ["a", "b"] {
                    rig.append(&tenant, device, start..start + 20).await;
                }
                written.send_replace(start + 20);
            }
        })
    };
    let mut readers = Vec::new();
    for reader in 0..6 {
        progress.wait_for(|n| *n >= reader * 300).await.unwrap();
        let key = tenant.key.clone();
        readers.push(tokio::spawn(async move {
            let mut subscriber = Subscriber::open(address, &key, json!("earliest")).await;
            let events = subscriber.events(2 * TOTAL as usize).await;
            (ids(&events), subscriber)
        }));
    }
    writer.await.unwrap();
    for reader in readers {
        let (ids, mut subscriber) = reader.await.unwrap();
        for device in ["a", "b"] {
            let got: Vec<&String> = ids.iter().filter(|id| id.starts_with(device)).collect();
            let expected: Vec<String> = (0..TOTAL).map(|n| format!("{device}-{n}.1")).collect();
            assert!(
                got.iter().copied().eq(&expected),
                "device {device} in order, once"
            );
        }
        subscriber.assert_silent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_covers_what_the_filter_skipped() {
    let rig = Rig::new(2).await;
    let tenant = rig.tenant(1, 2).await;
    let address = rig.sink(|_| {}).await;
    let subscribe = json!({ "type": "subscribe", "devices": ["wanted"], "from": "live" });
    let mut subscriber = Subscriber::send(address, &tenant.key, subscribe).await;
    subscriber.next("subscribed").await;
    rig.append(&tenant, "other", 0..100).await;
    rig.append(&tenant, "wanted", [1]).await;
    assert_eq!(ids(&subscriber.events(1).await), ["wanted-1.1"]);
    // Both lanes' tails pass what was skipped; the token then says so.
    let key = TokenKey::new(TOKEN_KEY).unwrap();
    let token = loop {
        subscriber.say(json!({ "type": "token" })).await;
        let token = subscriber.next("token").await["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let total: u64 = key
            .open(&tenant.scope, &token)
            .unwrap()
            .iter()
            .map(|p| p.next)
            .sum();
        if total == 101 {
            break token;
        }
    };
    let mut again = Subscriber::open(address, &tenant.key, json!({ "token": token })).await;
    again.next("caught_up").await;
    rig.append(&tenant, "other", [200]).await;
    assert_eq!(ids(&again.events(1).await), ["other-200.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_nothing_and_holds_nobody_back() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let address = rig
        .sink(|settings| settings.stream.queue_bytes = 16 * 1024)
        .await;
    let mut slow = Subscriber::open(address, &tenant.key, json!("live")).await;
    slow.next("subscribed").await;
    let mut fast = Subscriber::open(address, &tenant.key, json!("live")).await;
    fast.next("subscribed").await;
    const TOTAL: i64 = 40_000;
    let reading = tokio::spawn(async move { ids(&fast.events(TOTAL as usize).await) });
    for start in (0..TOTAL).step_by(500) {
        rig.append(&tenant, "a", start..start + 500).await;
    }
    let expected: Vec<String> = (0..TOTAL).map(|n| format!("a-{n}.1")).collect();
    assert_eq!(
        reading.await.unwrap(),
        expected,
        "the slow one has read nothing yet"
    );
    assert_eq!(ids(&slow.events(TOTAL as usize).await), expected);
    slow.assert_silent().await;
}

/// Two tenants share a lane; their subscribers come at several places, want several things, fall
/// behind and catch up together, from chunks that are kept for a moment only.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_go_through_the_history_together_each_get_their_own_once() {
    let rig = Rig::new(1).await;
    let tenants = [rig.tenant(1, 1).await, rig.tenant(2, 1).await];
    let address = rig
        .sink(|settings| {
            settings.stream.queue_bytes = 8 * 1024;
            settings.stream.history_bytes = 256 * 1024;
            settings.stream.history_readers = 2;
        })
        .await;
    const DEVICES: [&str; 3] = ["a", "b", "c"];
    const TOTAL: i64 = 6_000;
    let append = async |numbers: std::ops::Range<i64>| {
        for tenant in &tenants {
            for device in DEVICES {
                rig.append(tenant, device, numbers.clone()).await;
            }
        }
    };
    append(0..TOTAL / 4).await;
    let mut readers = tokio::task::JoinSet::new();
    for (tenant, wants) in tenants.iter().flat_map(|tenant| {
        let wants = [
            json!({ "type": "subscribe", "from": "earliest" }),
            json!({ "type": "subscribe", "from": "earliest", "event_types": ["laneway.position"] }),
            json!({ "type": "subscribe", "from": "earliest", "devices": ["b"] }),
        ];
        wants.into_iter().map(move |wants| (tenant, wants))
    }) {
        for slow in [false, false, true] {
            let mut subscriber = Subscriber::send(address, &tenant.key, wants.clone()).await;
            let devices = wants
                .get("devices")
                .map_or(&DEVICES[..], |_| &DEVICES[1..2]);
            let source = tenant.id.to_string();
            readers.spawn(async move {
                let mut next: BTreeMap<String, i64> = BTreeMap::new();
                for n in 0..TOTAL * i64::try_from(devices.len()).unwrap() {
                    let event = subscriber.next("event").await;
                    let device = event["event"]["subject"].as_str().unwrap().to_owned();
                    assert_eq!(event["event"]["tenantid"], source);
                    let expected = next.entry(device.clone()).or_default();
                    let id = event["event"]["id"].as_str().unwrap();
                    assert_eq!(id, format!("{device}-{expected}.1"));
                    *expected += 1;
                    if slow && n % 500 == 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
                assert!(
                    devices.iter().all(|d| next.get(*d) == Some(&TOTAL)),
                    "{next:?}"
                );
                subscriber.assert_silent().await;
            });
        }
    }
    for start in (TOTAL / 4..TOTAL).step_by(100) {
        append(start..start + 100).await;
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}
