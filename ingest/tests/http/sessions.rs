//! Sessions: start, stop, and what is known of them.

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::{LocationUpdate, SessionAction, SessionEvent};
use laneway_store::{ProjectionBatch, SessionRow, SessionState};
use laneway_tenancy::Grant;
use laneway_tenancy::control::{Limits, RoleAuthority};
use serde_json::{Value, json};

use crate::rig::{NOW, Rig};

const START: &str = "/location/session/start";

#[tokio::test]
async fn a_start_and_a_stop_are_in_the_log_once_however_often_they_are_sent() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let body = json!({"session_id": "s1", "started_at": "2026-11-21T02:00:00Z", "attributes": {"tour": 7}});
    let started = rig.post(&device, START, body.to_string()).await;
    assert_eq!(started.status, StatusCode::CREATED, "{}", started.json);
    assert_eq!(
        started.json,
        json!({"session_id": "s1", "started_at": "2026-11-21T02:00:00Z"})
    );
    let again = rig.post(&device, START, r#"{"session_id":"s1"}"#).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json, started.json);
    for _ in 0..2 {
        let stopped = rig.post(&device, "/location/session/s1/stop", "").await;
        assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.json);
        assert_eq!(
            stopped.json,
            json!({"session_id": "s1", "stopped_at": "2026-11-21T02:07:19Z"})
        );
        rig.clock.advance(1_000_000);
    }
    let events = rig.records::<SessionEvent>(Topic::SessionEvents).await;
    assert_eq!(events.len(), 2, "{events:?}");
    let (_, key, start) = &events[0];
    assert_eq!(*key, format!("{}/truck-1", tenant.tenant()));
    assert_eq!(
        (start.action, start.at, start.received_at),
        (SessionAction::Start, NOW - 439_000_000, NOW)
    );
    assert_eq!(start.attributes["tour"], "7");
    assert_eq!(
        (events[1].2.action, events[1].2.at),
        (SessionAction::Stop, NOW)
    );
}

#[tokio::test]
async fn a_session_without_an_id_gets_a_new_one_each_time() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let first = rig.post(&device, START, "").await;
    let second = rig.post(&device, START, "{}").await;
    assert_eq!(
        (first.status, second.status),
        (StatusCode::CREATED, StatusCode::CREATED)
    );
    assert_ne!(first.json["session_id"], second.json["session_id"]);
    assert_eq!(first.json["started_at"], "2026-11-21T02:07:19Z");
}

#[tokio::test]
async fn a_fix_recorded_after_its_sessions_stop_is_kept_without_the_session() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    rig.post(
        &device,
        "/location/session/s1/stop",
        json!({"stopped_at": NOW / 1000 - 10_000}).to_string(),
    )
    .await;
    let at = |seconds: i64, session: &str| json!({"session_id": session, "recorded_at": NOW / 1000 - seconds * 1000, "lat": 1, "lon": 2});
    let body = json!([at(11, "s1"), at(10, "s1"), at(9, "s1"), at(8, "s2")]).to_string();
    let reply = rig.update(&device, body).await;
    let notes: Vec<_> = (0..4)
        .map(|i| reply.json["results"][i]["note"].clone())
        .collect();
    assert_eq!(
        notes,
        [
            Value::Null,
            Value::Null,
            json!("after-session-stop"),
            Value::Null
        ]
    );
    let records = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    let sessions: Vec<_> = records
        .iter()
        .map(|(_, _, update)| update.session_id.as_deref())
        .collect();
    assert_eq!(sessions, [Some("s1"), Some("s1"), None, Some("s2")]);
}

#[tokio::test]
async fn bad_starts_and_stops_are_refused_by_their_kind() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    for (path, body, kind) in [
        (START, r#"{"session_id":"a/b"}"#, "invalid-id"),
        (START, r#"{"session_id":7}"#, "wrong-type"),
        (START, r#"{"started_at":"soon"}"#, "invalid-time"),
        (START, r#"{"started_at":-1}"#, "invalid-time"),
        (START, r#"{"colour":"red"}"#, "unknown-field"),
        (START, r#"{"device_id":"truck-2"}"#, "device-mismatch"),
        ("/location/session/-a/stop", "", "invalid-id"),
        (
            "/location/session/a/stop",
            r#"{"started_at":1}"#,
            "unknown-field",
        ),
    ] {
        let reply = rig.post(&device, path, body).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(reply.kind(), kind, "{body}");
    }
    assert_eq!(
        rig.post(&device, START, "[]").await.status,
        StatusCode::BAD_REQUEST
    );
    let key = rig.key(&tenant, &[Grant::LocationWrite]).await;
    assert_eq!(rig.post(&key, START, "{}").await.kind(), "missing-field");
    assert_eq!(
        rig.post(&key, START, r#"{"device_id":"no-such"}"#)
            .await
            .kind(),
        "unknown-device"
    );
    assert_eq!(
        rig.post(&key, START, r#"{"device_id":"truck-1"}"#)
            .await
            .status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_session_is_shown_to_its_tenant_and_looks_unknown_to_all_others() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let neighbour = rig.device(&tenant, "truck-2").await;
    let reader = rig.key(&tenant, &[Grant::PositionsRead]).await;
    let other = rig.tenant("other", Limits::default()).await;
    let foreign = rig.device(&other, "truck-1").await;
    let foreign_reader = rig.key(&other, &[Grant::PositionsRead]).await;
    let session = SessionRow {
        tenant: tenant.tenant(),
        device: "truck-1".parse().unwrap(),
        session: "s1".parse().unwrap(),
        state: SessionState::Updated,
        revision: 3,
        started_at: Some(NOW),
        stopped_at: None,
        last_fix_at: Some(NOW + 1),
        fixes: 2,
        distance_m: 12.5,
        duration_s: 0.5,
        attributes: Some(r#"{"tour":"7"}"#.to_owned()),
    };
    let batch = ProjectionBatch {
        generation: 1,
        to_offset: 1,
        sessions: vec![session],
        ..ProjectionBatch::default()
    };
    rig.store
        .project(&RoleAuthority::for_role("test"), batch)
        .await
        .unwrap();

    let path = "/location/session/s1";
    let found = rig.get(&device, path).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.json);
    assert_eq!(found.json["device_id"], "truck-1");
    assert_eq!(found.json["state"], "updated");
    assert_eq!(found.json["fixes"], 2);
    assert_eq!(found.json["started_at"], "2026-11-21T02:07:19Z");
    assert_eq!(found.json["attributes"]["tour"], "7");
    assert_eq!(rig.get(&reader, path).await.json, found.json);
    assert_eq!(
        rig.get(&reader, "/location/session/s1?device_id=truck-1")
            .await
            .json,
        found.json
    );
    let unknown = rig.get(&device, "/location/session/s2").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    for authorization in [&neighbour, &foreign, &foreign_reader] {
        let refused = rig.get(authorization, path).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert_eq!(refused.json, unknown.json);
    }
    let streams = rig.key(&tenant, &[Grant::StreamRead]).await;
    assert_eq!(rig.get(&streams, path).await.status, StatusCode::FORBIDDEN);
}
