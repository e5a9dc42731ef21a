//! Fixes: what is accepted, and what each bad one gets.

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::LocationUpdate;
use laneway_tenancy::Grant;
use laneway_tenancy::control::Limits;
use serde_json::{Value, json};

use crate::rig::{NOW, Rig, kind_of};

fn fix() -> Value {
    json!({"id": "f1", "recorded_at": "2026-11-21T02:07:18.5Z", "lat": 52.5, "lon": 13.4})
}

#[tokio::test]
async fn a_fix_with_every_field_is_in_the_log_as_it_was_sent() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let body = json!({
        "id": "f1", "recorded_at": "2026-11-21T02:07:18.123456Z", "latitude": -52.5, "longitude": 13.25,
        "altitude": 34.5, "accuracy": 5, "speed": 12.5, "heading": 360, "battery": 0.5, "session_id": "s1",
        "device_id": "truck-1", "tenant": "acme",
        "attributes": {"driver": "Zoë", "doors": 2, "open": false, "load": 0.5},
    });
    let reply = rig.update(&device, body.to_string()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    let expected = json!({"accepted": 1, "refused": 0, "results": [{"index": 0, "id": "f1", "status": "accepted"}]});
    assert_eq!(reply.json, expected);

    let records = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    let [(partition, key, update)] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(*key, format!("{}/truck-1", tenant.tenant()));
    let entry = rig.directory.tenant(tenant.tenant()).unwrap();
    assert_eq!(*partition, entry.body.placement.lane("truck-1"));
    let attributes = [
        ("driver", "Zoë"),
        ("doors", "2"),
        ("open", "false"),
        ("load", "0.5"),
    ];
    let expected = LocationUpdate {
        tenant_id: tenant.tenant().to_string(),
        device_id: "truck-1".to_owned(),
        fix_id: "f1".to_owned(),
        session_id: Some("s1".to_owned()),
        recorded_at: 1_795_226_838_123_456,
        received_at: NOW,
        latitude: -52.5,
        longitude: 13.25,
        altitude_m: Some(34.5),
        accuracy_m: Some(5.0),
        speed_mps: Some(12.5),
        heading_deg: Some(360.0),
        battery: Some(0.5),
        attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        control_version: 3,
    };
    assert_eq!(*update, expected);
}

#[tokio::test]
async fn a_fix_without_an_id_gets_the_same_one_each_time_it_is_sent() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let body = r#"{"recorded_at":1795226838500,"lat":1,"lon":2}"#;
    let first = rig.update(&device, body).await;
    let again = rig.update(&device, body).await;
    assert_eq!(
        first.json["results"][0]["id"].as_str().map(str::len),
        Some(32)
    );
    assert_eq!(first.json, again.json);
    let other = rig
        .update(&device, r#"{"recorded_at":1795226838501,"lat":1,"lon":2}"#)
        .await;
    assert_ne!(first.json, other.json);
}

/// Every bad item, and the kind of problem it gets.
fn bad_items() -> Vec<(Value, &'static str)> {
    let with = |name: &str, value: Value| {
        let mut fix = fix();
        fix[name] = value;
        fix
    };
    let without = |name: &str| {
        let mut fix = fix();
        fix.as_object_mut().unwrap().remove(name);
        fix
    };
    let many: serde_json::Map<String, Value> = (0..33).map(|n| (n.to_string(), json!(n))).collect();
    vec![
        (json!(7), "not-an-object"),
        (json!([]), "not-an-object"),
        (json!(null), "not-an-object"),
        (without("lat"), "missing-field"),
        (without("lon"), "missing-field"),
        (without("recorded_at"), "missing-field"),
        (with("lat", json!(null)), "missing-field"),
        (with("lat", json!(91)), "out-of-range"),
        (with("lat", json!(-90.000_001)), "out-of-range"),
        (with("lon", json!(180.5)), "out-of-range"),
        (with("heading", json!(361)), "out-of-range"),
        (with("battery", json!(1.5)), "out-of-range"),
        (with("speed", json!(-1)), "out-of-range"),
        (with("accuracy", json!(-1)), "out-of-range"),
        (with("altitude", json!(1e300)), "out-of-range"),
        (with("lat", json!("52.5")), "wrong-type"),
        (with("lat", json!({"deg": 5})), "wrong-type"),
        (with("speed", json!(true)), "wrong-type"),
        (with("id", json!(7)), "wrong-type"),
        (with("session_id", json!([])), "wrong-type"),
        (with("recorded_at", json!(1.5)), "wrong-type"),
        (with("attributes", json!("a")), "wrong-type"),
        (with("attributes", json!({"a": {"b": 1}})), "wrong-type"),
        (with("attributes", json!({"a": null})), "wrong-type"),
        (with("lat", json!("NaN")), "not-finite"),
        (with("altitude", json!("-Infinity")), "not-finite"),
        (with("id", json!("a/b")), "invalid-id"),
        (with("id", json!("")), "invalid-id"),
        (with("id", json!("x".repeat(65))), "invalid-id"),
        (with("session_id", json!("a b")), "invalid-id"),
        (with("recorded_at", json!("yesterday")), "invalid-time"),
        (
            with("recorded_at", json!("2026-11-21T02:07:18")),
            "invalid-time",
        ),
        (
            with("recorded_at", json!("1969-12-31T23:59:59Z")),
            "invalid-time",
        ),
        (with("recorded_at", json!(-1)), "invalid-time"),
        (
            with("recorded_at", json!("10000-01-01T00:00:00Z")),
            "invalid-time",
        ),
        (
            with("recorded_at", json!(253_402_300_800_000_i64)),
            "invalid-time",
        ),
        (with("recorded_at", json!(i64::MAX)), "invalid-time"),
        (with("latitude", json!(5)), "duplicate-field"),
        (with("colour", json!("red")), "unknown-field"),
        (
            with("attributes", Value::Object(many)),
            "attributes-too-large",
        ),
        (
            with("attributes", json!({"k".repeat(65): 1})),
            "attributes-too-large",
        ),
        (
            with("attributes", json!({"k": "v".repeat(257)})),
            "attributes-too-large",
        ),
        (with("device_id", json!("truck-2")), "device-mismatch"),
    ]
}

#[tokio::test]
async fn each_bad_fix_is_refused_by_its_kind_and_spoils_no_other() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let bad = bad_items();
    let mut items: Vec<Value> = bad.iter().map(|(item, _)| item.clone()).collect();
    items.push(fix());
    let reply = rig
        .update(&device, json!({"fixes": items}).to_string())
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json["accepted"], 1);
    assert_eq!(reply.json["refused"], bad.len());
    for (index, (item, kind)) in bad.iter().enumerate() {
        let result = &reply.json["results"][index];
        assert_eq!(result["index"], index);
        assert_eq!(result["status"], "refused", "{item}");
        assert_eq!(kind_of(&result["problem"]), *kind, "{item}: {result}");
        assert!(
            result["problem"]["detail"]
                .as_str()
                .is_some_and(|d| !d.is_empty())
        );
        // The same alone: nothing is accepted.
        let alone = rig.update(&device, item.to_string()).await;
        if item.is_object() {
            assert_eq!(alone.status, StatusCode::UNPROCESSABLE_ENTITY, "{item}");
            assert_eq!(kind_of(&alone.json["results"][0]["problem"]), *kind);
        } else {
            assert_eq!(alone.status, StatusCode::BAD_REQUEST, "{item}");
        }
    }
    assert_eq!(reply.json["results"][bad.len()]["status"], "accepted");
    let unknown = bad
        .iter()
        .position(|(_, kind)| *kind == "unknown-field")
        .unwrap();
    let detail = reply.json["results"][unknown]["problem"]["detail"]
        .as_str()
        .unwrap();
    assert!(detail.contains("`colour`"), "{detail}");
    assert_eq!(
        rig.records::<LocationUpdate>(Topic::LocationUpdates)
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn numbers_that_json_cannot_hold_spoil_only_their_own_fix() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let body = r#"[{"recorded_at":1795226838500,"lat":NaN,"lon":2},{"recorded_at":1795226838500,"lat":1,"lon":1e999},
        {"recorded_at":1795226838500,"lat":1,"lon":2,"speed":-Infinity},{"recorded_at":1795226838500,"lat":1,"lon":2}]"#;
    let reply = rig.update(&device, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    let kinds: Vec<_> = (0..4)
        .map(|i| kind_of(&reply.json["results"][i]["problem"]).to_owned())
        .collect();
    assert_eq!(kinds, ["not-finite", "not-finite", "not-finite", ""]);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_accepted_with_a_note() {
    let rig = Rig::start().await;
    let tenant = rig
        .tenant(
            "acme",
            Limits {
                ahead_seconds: 60,
                ..Limits::default()
            },
        )
        .await;
    let device = rig.device(&tenant, "truck-1").await;
    let at = |us: i64| json!({"recorded_at": (NOW + us) / 1000, "lat": 1, "lon": 2});
    let reply = rig
        .update(&device, json!([at(60_000_000), at(61_000_000)]).to_string())
        .await;
    assert_eq!(reply.json["accepted"], 2);
    assert_eq!(reply.json["results"][0]["note"], Value::Null);
    assert_eq!(reply.json["results"][1]["note"], "ahead-of-clock");
}

#[tokio::test]
async fn a_key_sends_for_its_tenants_devices_and_no_others() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    rig.device(&tenant, "truck-1").await;
    let other = rig.tenant("other", Limits::default()).await;
    rig.device(&other, "van-1").await;
    let key = rig.key(&tenant, &[Grant::LocationWrite]).await;
    // Registered after the key was last used, and not yet in the directory.
    let of =
        |device: &str| json!({"device_id": device, "recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let missing = json!({"recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let body = json!([of("truck-1"), of("van-1"), of("a/b"), missing]).to_string();
    let reply = rig.update(&key, body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let kinds: Vec<_> = (0..4)
        .map(|i| kind_of(&reply.json["results"][i]["problem"]).to_owned())
        .collect();
    assert_eq!(kinds, ["", "unknown-device", "invalid-id", "missing-field"]);

    let new = "truck-2".parse().unwrap();
    let device = rig.store.devices(&tenant).create(&new, NOW).await.unwrap();
    let body = of("truck-2").to_string();
    let (reply, ()) = tokio::join!(rig.update(&key, body), rig.relay());
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    let records = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    let (_, _, update) = records
        .iter()
        .find(|(_, key, _)| key.ends_with("/truck-2"))
        .unwrap();
    assert!(
        update.control_version >= device.since,
        "the processor would not know the device"
    );
}
