//! Who may send, and for whom.

use std::time::Duration;

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::LocationUpdate;
use laneway_store::TenantChange;
use laneway_store::audit::AuditQuery;
use laneway_tenancy::control::{Limits, TenantState};
use laneway_tenancy::options::Options;
use laneway_tenancy::{Grant, LocalSocket, OperatorScope};
use laneway_testkit::eventually;
use serde_json::json;

use crate::rig::{NOW, Rig};

const FIX: &str = r#"{"recorded_at":1795226838500,"lat":1,"lon":2}"#;

#[tokio::test]
async fn another_tenant_in_the_body_is_refused_alike_whether_or_not_there_is_one() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let other = rig.tenant("other", Limits::default()).await;
    let good = json!({"recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let naming = |name: &str| {
        let mut fix = good.clone();
        fix["tenant"] = json!(name);
        fix
    };
    let mut answers = Vec::new();
    for name in [
        "other",
        "no-such-tenant",
        &other.tenant().to_string(),
        "ten_00000000000000000000000000",
        "",
    ] {
        answers.push(
            rig.update(&device, json!([good, naming(name)]).to_string())
                .await,
        );
        answers.push(
            rig.update(
                &device,
                json!({"tenant": name, "fixes": [good]}).to_string(),
            )
            .await,
        );
        // Also where the fix is refused for something else.
        answers.push(
            rig.update(&device, json!({"tenant": name, "lat": 91}).to_string())
                .await,
        );
        answers.push(
            rig.post(
                &device,
                "/location/session/start",
                json!({"tenant": name}).to_string(),
            )
            .await,
        );
        answers.push(
            rig.post(
                &device,
                "/location/session/s/stop",
                json!({"tenant": name}).to_string(),
            )
            .await,
        );
    }
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json);
        assert_eq!(answer.kind(), "tenant-mismatch");
        assert_eq!(answer.json, answers[0].json);
    }
    assert!(
        rig.records::<LocationUpdate>(Topic::LocationUpdates)
            .await
            .is_empty()
    );
    for own in ["acme", &tenant.tenant().to_string()] {
        assert_eq!(
            rig.update(&device, naming(own).to_string()).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn whoever_names_another_tenant_or_may_not_send_is_in_its_own_audit_trail() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let reader = rig.key(&tenant, &[Grant::StreamRead]).await;
    let other = rig.tenant("other", Limits::default()).await;
    let naming = json!({"tenant": "other", "recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    for _ in 0..50 {
        let refused = rig.update(&device, naming.to_string()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(rig.update(&reader, FIX).await.status, StatusCode::FORBIDDEN);
    let query = AuditQuery {
        action: "POST /location/update".into(),
        limit: 100,
        ..AuditQuery::default()
    };
    let trail = || async { rig.store.audit(&tenant).list(&query).await.unwrap() };
    let bound = Duration::from_secs(20);
    let entries = eventually("the refusals in the trail", bound, || async {
        Some(trail().await).filter(|found| found.len() == 2)
    })
    .await
    .unwrap();
    let by = |principal: &str| {
        let found = entries.iter().find(|e| e.facts.principal == principal);
        found.unwrap_or_else(|| panic!("{entries:#?}"))
    };
    let first = by("device:truck-1");
    assert_eq!(first.facts.outcome, "403 tenant-mismatch");
    assert_eq!(first.facts.request_tenant, "other");
    let address = first.personal.address.as_ref().unwrap();
    assert_eq!(address.value, "127.0.0.1");
    assert!(entries.iter().any(|e| e.facts.outcome == "403 forbidden"));
    // Its repeats are one entry, a minute later.
    rig.clock.advance(61_000_000);
    let counted = eventually("the repeats", bound, || async {
        let found = trail().await;
        let all: i64 = found.iter().map(|e| e.facts.count).sum();
        (all == 51).then_some(found.len())
    })
    .await
    .unwrap();
    assert!(counted <= 4, "{counted} entries");
    let theirs = rig.store.audit(&other).list(&query).await.unwrap();
    assert_eq!(theirs, []);
}

#[tokio::test]
async fn credentials_that_are_missing_wrong_or_too_weak_send_nothing() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let missing = rig.update("", FIX).await;
    assert_eq!(
        (missing.status, missing.kind()),
        (StatusCode::UNAUTHORIZED, "unauthorized")
    );
    assert!(missing.headers.contains_key("www-authenticate"));
    for grant in [Grant::StreamRead, Grant::PositionsRead, Grant::TenantWrite] {
        let key = rig.key(&tenant, &[grant]).await;
        for path in [
            "/location/update",
            "/location/session/start",
            "/location/session/s/stop",
        ] {
            assert_eq!(
                rig.post(&key, path, FIX).await.status,
                StatusCode::FORBIDDEN,
                "{grant:?} {path}"
            );
        }
    }
    for _ in 0..5 {
        assert_eq!(
            rig.update("Bearer nonsense", FIX).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let held = rig.update("Bearer more nonsense", FIX).await;
    assert_eq!(
        (held.status, held.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-failures")
    );
    assert!(held.retry_after().is_some_and(|seconds| seconds > 0));
    assert!(
        rig.records::<LocationUpdate>(Topic::LocationUpdates)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_suspended_tenant_and_a_revoked_device_are_refused_once_the_news_arrives() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let revoked = rig.device(&tenant, "truck-2").await;
    assert_eq!(rig.update(&device, FIX).await.status, StatusCode::OK);
    assert_eq!(rig.update(&revoked, FIX).await.status, StatusCode::OK);
    let bound = Duration::from_secs(10);

    rig.store
        .devices(&tenant)
        .delete(&"truck-2".parse().unwrap(), NOW)
        .await
        .unwrap();
    rig.relay().await;
    let refused = || async {
        let reply = rig.update(&revoked, FIX).await;
        (reply.status == StatusCode::UNAUTHORIZED).then_some(())
    };
    eventually("the revoked device to be refused", bound, refused)
        .await
        .unwrap();

    let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
    rig.store
        .tenants(&operator)
        .set_state(tenant.tenant(), TenantState::Suspended, NOW)
        .await
        .unwrap();
    rig.relay().await;
    let refused = || async {
        let reply = rig.update(&device, FIX).await;
        (reply.status == StatusCode::FORBIDDEN).then_some(reply)
    };
    let reply = eventually("the suspended tenant to be refused", bound, refused)
        .await
        .unwrap();
    assert_eq!(reply.kind(), "tenant-inactive");
}

#[tokio::test]
async fn devices_send_from_the_tenants_networks_alone() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let other = rig.tenant("other", Limits::default()).await;
    let device = rig.device(&tenant, "truck").await;
    let theirs = rig.device(&other, "truck").await;
    assert_eq!(rig.update(&device, FIX).await.status, StatusCode::OK);
    let bound = Duration::from_secs(10);
    let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
    let allow = async |network: &str| {
        let options = Options {
            ip_allow: vec![network.to_owned()],
            ..Options::default()
        };
        let settings = TenantChange::Settings {
            name: None,
            plan: None,
            options: Some(options),
        };
        let tenants = rig.store.tenants(&operator);
        let changed = tenants.change(tenant.tenant(), None, settings, NOW).await;
        changed.unwrap();
        rig.relay().await;
    };
    allow("10.0.0.0/8").await;
    let refused = || async {
        let reply = rig.update(&device, FIX).await;
        (reply.status == StatusCode::FORBIDDEN).then_some(reply)
    };
    let reply = eventually("a device elsewhere to be refused", bound, refused).await;
    assert_eq!(reply.unwrap().kind(), "address-not-allowed");
    assert_eq!(rig.update(&theirs, FIX).await.status, StatusCode::OK);
    let query = AuditQuery {
        limit: 10,
        action: "POST /location/update".to_owned(),
        ..AuditQuery::default()
    };
    let entry = || async {
        let found = rig.store.audit(&tenant).list(&query).await.unwrap();
        let outcome = found.first().map(|entry| entry.facts.outcome.clone());
        outcome.filter(|outcome| outcome == "403 address-not-allowed")
    };
    eventually("an entry in the audit trail", bound, entry)
        .await
        .unwrap();
    allow("127.0.0.1").await;
    let taken = || async {
        let reply = rig.update(&device, FIX).await;
        (reply.status == StatusCode::OK).then_some(())
    };
    eventually("a device within to be taken again", bound, taken)
        .await
        .unwrap();
}
