//! What all tenants are told: by the operator, and of what is seen of all of them together.

use std::collections::BTreeMap;
use std::time::Duration;

use laneway_log::{Records, Topic};
use laneway_schemas::sink::{health_key, redrive_key};
use laneway_schemas::{DestinationHealth, DestinationRedrive, Notice};
use laneway_store::QuotaWarningRow;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::{RoleAuthority, TenantKind};
use laneway_tenancy::quota::day_of_us;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    the_operator_tells_all_tenants_and_nobody_else_does,
    a_notice_is_a_line_and_no_more_than_fits,
    what_is_seen_of_all_tenants_is_counted_and_names_nobody,
);

const BOUND: Duration = Duration::from_secs(60);

/// What the namespace of notices has, with its event ids, and where it is.
async fn notices(rig: &Rig) -> (TenantId, BTreeMap<String, Notice>) {
    let runtime = rig.heard("runtime", |tenant| tenant.body.kind == TenantKind::Runtime);
    let runtime = runtime.await;
    let lane = runtime.body.placement.lane("~");
    let topic = Topic::TenantStreams;
    let bounds = rig.log.bounds(topic, lane).await.unwrap();
    let mut found = BTreeMap::new();
    let mut next = bounds.earliest;
    let mut reader = rig.log.reader(topic, vec![(lane, next)]).await.unwrap();
    while next < bounds.last_stable {
        let batch = reader.next().await.unwrap();
        next = batch.next_offset();
        for record in batch.iter() {
            assert_eq!(record.key, format!("{}/~", runtime.id).as_bytes());
            assert_eq!(record.headers.get_str("ce_type"), Some("laneway.notice"));
            let id = record.headers.get_str("ce_id").unwrap().to_owned();
            let notice: Notice = rig.codecs.decode(record.value.unwrap()).unwrap();
            assert_eq!(id, format!("{}.1", notice.entity_id));
            found.insert(id, notice);
        }
    }
    (runtime.id, found)
}

async fn the_operator_tells_all_tenants_and_nobody_else_does(database: Database) {
    let rig = rig(database).await;
    let operator = rig.operator_key().await;
    let owner = rig.acme().await;
    let body = json!({
        "kind": "maintenance",
        "severity": "warning",
        "title": "The database moves on Sunday",
        "text": "From 06:00 to 06:10 UTC.",
        "details": {"from": "2026-11-22T06:00:00Z"},
    });
    for key in [&owner, "Bearer lwk_none"] {
        let refused = rig.ask("POST", "/operator/notices", key, &body).await;
        assert!([401, 403].contains(&refused.status), "{}", refused.body);
    }
    let (runtime, before) = notices(&rig).await;
    assert!(before.is_empty());
    let given = rig.ask("POST", "/operator/notices", &operator, &body).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let (_, found) = notices(&rig).await;
    let notice = &found[given.body["id"].as_str().unwrap()];
    assert_eq!(notice.tenant_id, runtime.to_string());
    assert_eq!(
        (notice.kind.as_str(), notice.severity.as_str()),
        ("maintenance", "warning")
    );
    assert_eq!(notice.title, "The database moves on Sunday");
    assert_eq!(notice.text.as_deref(), Some("From 06:00 to 06:10 UTC."));
    assert_eq!(notice.details["from"], "2026-11-22T06:00:00Z");
    // What a tenant's key may not do in the namespace, whatever it may at home.
    let device = json!({"id": "truck"});
    for (method, path, body) in [
        ("POST", "/tenants/runtime/devices", &device),
        ("POST", "/t/runtime/devices", &device),
        ("GET", "/t/runtime/devices", &Value::Null),
        ("GET", "/t/runtime/keys", &Value::Null),
        ("GET", "/t/runtime/audit", &Value::Null),
    ] {
        let refused = rig.ask(method, path, &owner, body).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
    }
    let closing = json!({"state": "closing"});
    let kept = rig
        .ask("PUT", "/tenants/runtime/state", &operator, &closing)
        .await;
    assert!([403, 409, 422].contains(&kept.status), "{}", kept.body);
}

async fn a_notice_is_a_line_and_no_more_than_fits(database: Database) {
    let rig = rig(database).await;
    rig.heard("runtime", |_| true).await;
    let many: BTreeMap<String, &str> = (0..33).map(|n| (n.to_string(), "x")).collect();
    for (body, said) in [
        (json!({"title": " "}), "title"),
        (json!({"title": "a\nb"}), "title"),
        (json!({"title": "x".repeat(201)}), "title has 201"),
        (
            json!({"title": "x", "text": "x".repeat(4001)}),
            "text has 4001",
        ),
        (
            json!({"title": "x", "kind": "gossip"}),
            "deployment, health",
        ),
        (json!({"title": "x", "severity": "loud"}), "info, warning"),
        (json!({"title": "x", "details": many}), "details has 33"),
        (
            json!({"title": "x", "details": {"a": "x".repeat(501)}}),
            "details.a",
        ),
        (json!({"title": "x", "tenant": "acme"}), "tenant"),
    ] {
        let refused = rig.operate("POST", "/operator/notices", &body).await;
        assert!(
            [400, 422].contains(&refused.status),
            "{body}: {}",
            refused.body
        );
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{detail}");
    }
    let body = json!({"title": "x".repeat(200)});
    let given = rig.operate("POST", "/operator/notices", &body).await;
    assert_eq!(given.status, 201, "{}", given.body);
    assert_eq!(notices(&rig).await.1.len(), 1);
}

async fn what_is_seen_of_all_tenants_is_counted_and_names_nobody(database: Database) {
    let rig = rig(database).await;
    rig.acme().await;
    let acme = rig.heard("acme", |_| true).await.id;
    signal(&rig, acme, 1, true).await;
    signal(&rig, acme, 2, true).await;
    let now = now_us();
    let warning = QuotaWarningRow {
        tenant: acme,
        day: day_of_us(now),
        quota: "events_per_day".to_owned(),
        used: 80,
        limit: 100,
        warned_at: now,
    };
    let authority = RoleAuthority::for_role("sink");
    let warnings = rig.store.quota_warnings(&authority);
    warnings.decide(&warning).await.unwrap();
    until("both are told", BOUND, || async {
        let (_, found) = notices(&rig).await;
        let has = |title: &str| found.values().any(|notice| notice.title == title);
        has("Deliveries to 2 destinations wait") && has("1 quota is nearly used up today")
    })
    .await
    .unwrap();
    for id in [1, 2] {
        signal(&rig, acme, id, false).await;
    }
    until("that they go on is told", BOUND, || async {
        let (_, found) = notices(&rig).await;
        found
            .values()
            .any(|n| n.title == "All destinations are delivered to")
    })
    .await
    .unwrap();
    let (_, found) = notices(&rig).await;
    for notice in found.values() {
        let said = format!("{notice:?}");
        assert!(
            !said.contains(&acme.to_string()) && !said.contains("acme"),
            "{said}"
        );
    }
}

fn now_us() -> i64 {
    use laneway_runtime::Clock;
    laneway_runtime::SystemClock.now_us()
}

/// What a sink says of a destination; and that its dead letters are asked for, which is no state.
async fn signal(rig: &Rig, tenant: TenantId, id: u128, open: bool) {
    let destination = laneway_tenancy::DestinationId::from_u128(id);
    let health = DestinationHealth {
        tenant_id: tenant.to_string(),
        destination_id: destination.to_string(),
        open,
        until: 0,
        opened: 1,
        error: None,
        failed_at: None,
        instance: "sink".to_owned(),
    };
    let asked = DestinationRedrive {
        tenant_id: tenant.to_string(),
        destination_id: destination.to_string(),
        event_id: None,
        lane: None,
        requested_at: 0,
    };
    let (mut said, mut wanted) = (Vec::new(), Vec::new());
    rig.codecs.encode(&health, &mut said).unwrap();
    rig.codecs.encode(&asked, &mut wanted).unwrap();
    let mut records = Records::new();
    let topic = Topic::SinkSignals;
    let key = health_key(tenant, destination);
    records.push(topic, 0, 0, key.as_bytes(), [], &said);
    let key = redrive_key(tenant, destination, None);
    records.push(topic, 0, 0, key.as_bytes(), [], &wanted);
    rig.log.append(records).await.unwrap();
}
