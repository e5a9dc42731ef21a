//! What the processor refused: listed, and sent again.

use std::collections::BTreeMap;

use laneway_log::{Records, Topic};
use laneway_schemas::{LocationUpdate, Quarantined, SessionAction, SessionEvent};
use laneway_tenancy::{Placement, TenantId};
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, rig};

laneway_testkit::on_both_databases!(
    the_quarantine_is_listed_by_page_reason_tenant_topic_partition_and_time,
    a_tenant_sees_what_was_refused_of_its_own_device_alone,
    a_redriven_record_is_as_it_was_but_for_the_version_that_it_is_judged_by,
    what_may_have_been_erased_is_not_redriven,
);

const TIME: i64 = 1_763_690_400_000_000;

fn fix(tenant: &str) -> LocationUpdate {
    LocationUpdate {
        tenant_id: tenant.to_owned(),
        device_id: "truck".to_owned(),
        fix_id: "fix-1".to_owned(),
        session_id: None,
        recorded_at: TIME,
        received_at: TIME,
        latitude: 52.0,
        longitude: 13.0,
        altitude_m: None,
        accuracy_m: None,
        speed_mps: None,
        heading_deg: None,
        battery: None,
        attributes: BTreeMap::from([("a".to_owned(), "b".to_owned())])
            .into_iter()
            .collect(),
        control_version: 1,
    }
}

fn stop(tenant: &str) -> SessionEvent {
    SessionEvent {
        tenant_id: tenant.to_owned(),
        device_id: "truck".to_owned(),
        session_id: "s".to_owned(),
        action: SessionAction::Stop,
        at: TIME,
        received_at: TIME,
        attributes: Default::default(),
        control_version: 1,
    }
}

/// A tenant, and five refused records: in partition 3, then in partition 5.
async fn refused(rig: &Rig) -> (String, Placement) {
    let body = json!({"slug": "acme", "lanes": 2});
    let made = rig.operate("POST", "/tenants", &body).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let other = TenantId::from_u128(9).to_string();
    let (mut fix_value, mut stop_value) = (Vec::new(), Vec::new());
    rig.codecs.encode(&fix(&id), &mut fix_value).unwrap();
    rig.codecs.encode(&stop(&id), &mut stop_value).unwrap();
    let (fixes, sessions) = (Topic::LocationUpdates, Topic::SessionEvents);
    let mut records = Records::new();
    for (at, partition, topic, reason, tenant, value) in [
        (0, 3, fixes, "unknown-device", &id, Some(&fix_value)),
        (1, 3, fixes, "tenant-mismatch", &other, Some(&fix_value)),
        (2, 5, sessions, "unknown-device", &id, Some(&stop_value)),
        (3, 5, fixes, "too-large", &id, None),
        (4, 5, sessions, "undecodable", &id, Some(&b"?".to_vec())),
    ] {
        let key = format!("{tenant}/truck");
        let quarantined = Quarantined {
            reason: reason.to_owned(),
            detail: "in words".to_owned(),
            topic: topic.name().to_owned(),
            partition,
            offset: 7,
            refused_at: TIME + at * 1_000_000,
            key: key.clone().into_bytes().into(),
            value: value.map(|v| v.clone().into()),
            headers: BTreeMap::from([("h".to_owned(), b"1".to_vec().into())]),
        };
        let mut encoded = Vec::new();
        rig.codecs.encode(&quarantined, &mut encoded).unwrap();
        let partition = u32::try_from(partition).unwrap();
        records.push(
            Topic::Quarantine,
            partition,
            1,
            key.as_bytes(),
            [],
            &encoded,
        );
    }
    rig.log.append(records).await.unwrap();
    let placement = Placement::first(id.parse().unwrap(), 2, 8);
    (id, placement)
}

fn positions(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let items = answer.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| i["position"].as_str().unwrap())
        .collect()
}

async fn the_quarantine_is_listed_by_page_reason_tenant_topic_partition_and_time(
    database: Database,
) {
    let rig = rig(database).await;
    let none = rig
        .operate("GET", "/operator/quarantine", &Value::Null)
        .await;
    assert!(positions(&none).is_empty() && none.body["next"].is_null());
    let (id, _) = refused(&rig).await;
    for (query, expected) in [
        ("", vec!["3:0", "3:1", "5:0", "5:1", "5:2"]),
        ("?reason=unknown-device", vec!["3:0", "5:0"]),
        ("?tenant=acme", vec!["3:0", "5:0", "5:1", "5:2"]),
        (
            &format!("?tenant={id}&topic=session-events"),
            vec!["5:0", "5:2"],
        ),
        ("?partition=5&after=5:0", vec!["5:1", "5:2"]),
        ("?partition=64", vec![]),
        (
            "?since=2025-11-21T02:00:01Z&until=2025-11-21T02:00:03Z",
            vec!["3:1", "5:0"],
        ),
    ] {
        let path = format!("/operator/quarantine{query}");
        let listed = rig.operate("GET", &path, &Value::Null).await;
        assert_eq!(positions(&listed), expected, "{query}");
    }
    let first = rig
        .operate("GET", "/operator/quarantine?limit=1", &Value::Null)
        .await;
    let item = &first.body["items"][0];
    assert_eq!(item["key"], format!("{id}/truck"));
    assert_eq!(item["received_at"], "2025-11-21T02:00:00Z");
    assert_eq!(
        (&item["offset"], &item["partition"]),
        (&json!(7), &json!(3))
    );

    let mut paged = Vec::new();
    let mut path = "/operator/quarantine?limit=2".to_owned();
    loop {
        let page = rig.operate("GET", &path, &Value::Null).await;
        paged.extend(positions(&page).into_iter().map(str::to_owned));
        assert!(page.body["items"].as_array().unwrap().len() <= 2);
        match page.body["next"].as_str() {
            Some(next) => path = format!("/operator/quarantine?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ["3:0", "3:1", "5:0", "5:1", "5:2"]);
    for query in ["?tenant=nobody", "?after=3", "?since=yesterday", "?what=1"] {
        let path = format!("/operator/quarantine{query}");
        let refused = rig.operate("GET", &path, &Value::Null).await.status;
        assert!([400, 404, 422].contains(&refused), "{query}: {refused}");
    }
}

async fn all(rig: &Rig, topic: Topic, partition: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let end = rig.log.bounds(topic, partition).await.unwrap().last_stable;
    let mut read = Vec::new();
    let mut reader = rig.log.reader(topic, vec![(partition, 0)]).await.unwrap();
    let mut next = 0;
    while next < end {
        let batch = reader.next().await.unwrap();
        for record in batch.iter() {
            assert_eq!(record.headers.get("h"), Some(b"1".as_slice()));
            // It is not counted again.
            let redriven = record.headers.get(laneway_schemas::headers::REDRIVEN);
            assert_eq!(redriven, Some(b"1".as_slice()));
            read.push((record.key.to_vec(), record.value.unwrap().to_vec()));
        }
        next = batch.next_offset();
    }
    read
}

async fn a_redriven_record_is_as_it_was_but_for_the_version_that_it_is_judged_by(
    database: Database,
) {
    let rig = rig(database).await;
    let (id, placement) = refused(&rig).await;
    let redrive = async |body: Value| {
        rig.operate("POST", "/operator/quarantine/redrive", &body)
            .await
    };
    register(&rig).await;
    let lane = placement.lane("truck");
    let key = format!("{id}/truck").into_bytes();

    let matching = json!({"matching": {"tenant": "acme", "reason": "unknown-device"}});
    for round in 1..=2 {
        let done = redrive(matching.clone()).await;
        assert_eq!((done.status, &done.body["redriven"]), (200, &json!(2)));
        let fixes = all(&rig, Topic::LocationUpdates, lane).await;
        assert_eq!(fixes.len(), round, "in the lane of its device");
        let expected = LocationUpdate {
            control_version: 2,
            ..fix(&id)
        };
        let (found, value) = fixes.last().unwrap();
        assert_eq!(found, &key);
        assert_eq!(
            rig.codecs.decode::<LocationUpdate>(value).unwrap(),
            expected
        );
        let stops = all(&rig, Topic::SessionEvents, lane).await;
        let stamped: SessionEvent = rig.codecs.decode(&stops.last().unwrap().1).unwrap();
        assert_eq!(stamped.control_version, 2);
    }

    let chosen = json!({"positions": ["5:2", "3:1", "5:1", "3:1", "7:99", "3:5"]});
    let done = redrive(chosen).await;
    assert_eq!(
        (done.status, &done.body["redriven"]),
        (200, &json!(2)),
        "{}",
        done.body
    );
    let left = done.body["left"].as_array().unwrap();
    let mut left: Vec<_> = left
        .iter()
        .map(|l| l["position"].as_str().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["3:5", "5:1", "7:99"]);
    let mismatch = all(&rig, Topic::LocationUpdates, 3).await.pop().unwrap();
    let mut unchanged = Vec::new();
    rig.codecs.encode(&fix(&id), &mut unchanged).unwrap();
    assert_eq!(mismatch.1, unchanged, "it is judged as before");
    let undecodable = all(&rig, Topic::SessionEvents, lane).await.pop().unwrap();
    assert_eq!(undecodable, (key, b"?".to_vec()));

    for body in [
        json!({"matching": {}}),
        json!({"positions": ["x"]}),
        json!({}),
    ] {
        let refused = redrive(body.clone()).await.status;
        assert!([400, 422].contains(&refused), "{body}: {refused}");
    }
}

async fn register(rig: &Rig) {
    let device = json!({"id": "truck"});
    let path = "/tenants/acme/devices";
    let made = rig.operate("POST", path, &device).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

async fn what_may_have_been_erased_is_not_redriven(database: Database) {
    let rig = rig(database).await;
    refused(&rig).await;
    let redrive = async || {
        let body = json!({"positions": ["3:0", "3:1", "5:0", "5:2"]});
        let path = "/operator/quarantine/redrive";
        let answer = rig.operate("POST", path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let left = answer.body["left"].as_array().unwrap();
        let why: Vec<_> = left
            .iter()
            .map(|l| l["why"].as_str().unwrap().to_owned())
            .collect();
        (answer.body["redriven"].clone(), why)
    };
    // One is under a key that names no tenant: it is refused again.
    let unregistered = "its device is not registered (any more)".to_owned();
    assert_eq!(redrive().await, (json!(1), vec![unregistered.clone(); 3]));
    register(&rig).await;
    assert_eq!(redrive().await, (json!(4), vec![]));
    let gone = "/tenants/acme/devices/truck";
    let gone = rig.operate("DELETE", gone, &Value::Null).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert_eq!(redrive().await, (json!(1), vec![unregistered; 3]));
    register(&rig).await;
    let closing = json!({"state": "closing"});
    let closing = rig.operate("PUT", "/tenants/acme/state", &closing).await;
    assert_eq!(closing.status, 200, "{}", closing.body);
    let closed = "its tenant is closed".to_owned();
    assert_eq!(redrive().await, (json!(1), vec![closed; 3]));
}

async fn a_tenant_sees_what_was_refused_of_its_own_device_alone(database: Database) {
    let rig = rig(database).await;
    let (id, placement) = refused(&rig).await;
    let lane = placement.lane("truck");
    // Beside what is there already: of the device, of another one, and of another tenant's.
    let other = TenantId::from_u128(9).to_string();
    let mut records = Records::new();
    for (at, key) in [(0, "truck"), (1, "van"), (2, "truck")] {
        for tenant in [&id, &other] {
            let key = format!("{tenant}/{key}");
            let quarantined = Quarantined {
                reason: "unknown-device".to_owned(),
                detail: "in words".to_owned(),
                topic: Topic::LocationUpdates.name().to_owned(),
                partition: i32::try_from(lane).unwrap(),
                offset: 1,
                refused_at: TIME + at * 1_000_000,
                key: key.clone().into_bytes().into(),
                value: None,
                headers: BTreeMap::new(),
            };
            let mut encoded = Vec::new();
            rig.codecs.encode(&quarantined, &mut encoded).unwrap();
            records.push(Topic::Quarantine, lane, 1, key.as_bytes(), [], &encoded);
        }
    }
    rig.log.append(records).await.unwrap();
    let admin = rig.key("acme", &["tenant:admin"]).await;
    rig.directory.wait_for(id.parse().unwrap(), 1).await;
    let get = async |path: &str| rig.ask("GET", path, &admin, &Value::Null).await;
    // The device need not be there (any more).
    let before = if [3, 5].contains(&lane) { 3 } else { 0 };
    let all = get("/devices/truck/refused").await;
    let found = positions(&all).len();
    assert!((2..=2 + before).contains(&found), "{}", all.body);
    let last = &all.body["items"][found - 1];
    assert_eq!(
        (&last["reason"], &last["topic"], last.get("key")),
        (&json!("unknown-device"), &json!("location-updates"), None)
    );
    let first = get("/devices/truck/refused?limit=1").await;
    assert_eq!(positions(&first), positions(&all)[..1]);
    let next = first.body["next"].as_str().unwrap();
    let rest = get(&format!("/devices/truck/refused?after={next}")).await;
    assert_eq!(positions(&rest), positions(&all)[1..]);
    assert!(rest.body["next"].is_null());
    assert!(positions(&get("/devices/nobody/refused").await).is_empty());
    let wrong = get("/devices/truck/refused?after=x").await;
    assert_eq!(wrong.status, 422);
}
