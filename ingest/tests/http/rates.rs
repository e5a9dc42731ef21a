//! Rate limits.

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::LocationUpdate;
use laneway_tenancy::Grant;
use laneway_tenancy::control::Limits;
use serde_json::{Value, json};

use crate::rig::{NOW, Rig};

fn batch(fixes: i64) -> String {
    let fixes: Vec<Value> = (0..fixes)
        .map(|n| json!({"recorded_at": NOW / 1000 - n, "lat": 1, "lon": 2}))
        .collect();
    json!({"fixes": fixes}).to_string()
}

#[tokio::test]
async fn a_batch_over_the_rate_is_refused_whole_and_passes_after_the_wait() {
    let rig = Rig::start().await;
    let tenant = rig
        .tenant(
            "acme",
            Limits {
                device_events_per_second: 10,
                ..Limits::default()
            },
        )
        .await;
    let device = rig.device(&tenant, "truck-1").await;
    let quiet = rig.device(&tenant, "truck-2").await;
    assert_eq!(rig.update(&device, batch(8)).await.status, StatusCode::OK);
    let limited = rig.update(&device, batch(8)).await;
    assert_eq!(
        (limited.status, limited.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    let wait = limited.retry_after().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(
        rig.records::<LocationUpdate>(Topic::LocationUpdates)
            .await
            .len(),
        8
    );
    assert_eq!(
        rig.update(&quiet, batch(8)).await.status,
        StatusCode::OK,
        "another device waits for this one"
    );
    rig.clock.advance(i64::from(wait) * 1_000_000);
    assert_eq!(rig.update(&device, batch(8)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_keys_batch_that_is_refused_takes_nothing_from_its_devices() {
    let rig = Rig::start().await;
    let limits = Limits {
        device_events_per_second: 10,
        ..Limits::default()
    };
    let tenant = rig.tenant("acme", limits).await;
    for device in ["truck-1", "truck-2", "truck-3"] {
        rig.device(&tenant, device).await;
    }
    let key = rig.key(&tenant, &[Grant::LocationWrite]).await;
    let of = |devices: &[&str]| {
        let fixes = devices.iter().flat_map(|device| {
            (0..8).map(move |n| {
                json!({"device_id": device, "recorded_at": NOW / 1000 - n, "lat": 1, "lon": 2})
            })
        });
        json!({"fixes": fixes.collect::<Vec<Value>>()}).to_string()
    };
    assert_eq!(
        rig.update(&key, of(&["truck-3"])).await.status,
        StatusCode::OK
    );
    let all = of(&["truck-1", "truck-2", "truck-3"]);
    let limited = rig.update(&key, all).await;
    assert_eq!(
        (limited.status, limited.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    let others = rig.update(&key, of(&["truck-1", "truck-2"])).await;
    assert_eq!(others.status, StatusCode::OK, "{}", others.json);
}

#[tokio::test]
async fn a_tenant_over_its_rate_does_not_slow_another_one() {
    let rig = Rig::start().await;
    let limits = Limits {
        events_per_second: 10,
        ..Limits::default()
    };
    let tenant = rig.tenant("acme", limits).await;
    let device = rig.device(&tenant, "truck-1").await;
    let other = rig.tenant("other", limits).await;
    let other_device = rig.device(&other, "truck-1").await;
    assert_eq!(rig.update(&device, batch(10)).await.status, StatusCode::OK);
    let limited = rig.update(&device, batch(1)).await;
    assert_eq!(
        (limited.status, limited.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    let start = rig.post(&device, "/location/session/start", "").await;
    assert_eq!(
        (start.status, start.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "rate-limited")
    );
    assert_eq!(
        rig.update(&other_device, batch(10)).await.status,
        StatusCode::OK
    );
}
