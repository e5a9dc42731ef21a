//! Usage, by API and as CSV.

use laneway_store::{Store, UsageBatch, UsageCount};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    a_tenant_reads_what_it_used_day_by_day,
    usage_comes_as_csv_where_that_is_asked_for,
    usage_takes_its_grant_and_days_that_there_are,
    a_quota_is_told_with_what_is_used_of_it,
    the_operator_reads_the_usage_of_all_tenants_in_pages,
);

/// 2026-11-21
const DAY: i64 = 20_778;

async fn used(store: &Store, tenant: &str, counts: &[(i64, i64)]) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let tenant: TenantId = tenant.parse().unwrap();
    let batch = UsageBatch {
        generation: 1,
        topic: "location-updates",
        // Each in a partition of its own.
        partition: u32::try_from(NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)).unwrap(),
        to_offset: 1,
        counts: counts
            .iter()
            .map(|(day, events)| UsageCount {
                tenant,
                day: *day,
                events: *events,
                bytes: events * 100,
            })
            .collect(),
        ..UsageBatch::default()
    };
    let authority = RoleAuthority::for_role("test");
    store.meter(&authority, &batch).await.unwrap();
}

async fn id(rig: &Rig, slug: &str) -> String {
    let path = format!("/tenants/{slug}");
    let found = rig.operate("GET", &path, &Value::Null).await;
    found.body["id"].as_str().unwrap().to_owned()
}

async fn a_tenant_reads_what_it_used_day_by_day(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["usage:read"]).await;
    let other = rig.tenant("other", &["usage:read"]).await;
    let acme = id(&rig, "acme").await;
    used(&rig.store, &acme, &[(DAY - 1, 2), (DAY, 5), (DAY + 2, 1)]).await;
    let path = "/usage?from=2026-11-21&to=2026-11-23";
    let answer = rig.ask("GET", path, &key, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["tenant_id"], acme);
    let days = answer.body["days"].as_array().unwrap();
    let found: Vec<_> = days
        .iter()
        .map(|d| (&d["day"], &d["events"], &d["bytes"], &d["storage_bytes"]))
        .map(|(day, events, bytes, stored)| json!([day, events, bytes, stored]))
        .collect();
    // What came before is still kept.
    let expected = [
        json!(["2026-11-21", 5, 500, 700]),
        json!(["2026-11-22", 0, 0, 700]),
        json!(["2026-11-23", 1, 100, 800]),
    ];
    assert_eq!(found, expected);
    let path_of = format!("/tenants/acme{path}");
    let operator = rig.operate("GET", &path_of, &Value::Null).await;
    assert_eq!(operator.body, answer.body);
    let none = rig.ask("GET", path, &other, &Value::Null).await;
    assert_eq!(none.body["days"][0]["events"], 0);
}

async fn usage_comes_as_csv_where_that_is_asked_for(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["usage:read"]).await;
    let acme = id(&rig, "acme").await;
    used(&rig.store, &acme, &[(DAY, 5)]).await;
    let path = "/usage?from=2026-11-21&to=2026-11-21&format=csv";
    let answer = rig.ask("GET", path, &key, &Value::Null).await;
    assert!(
        answer.head.contains("content-type: text/csv"),
        "{}",
        answer.head
    );
    let expected = format!(
        "tenant_id,day,events,bytes,devices,deliveries,sockets_peak,socket_seconds,storage_bytes\n\
         {acme},2026-11-21,5,500,0,0,0,0,500\n"
    );
    assert_eq!(answer.text, expected);
    let accepts = format!("{key}\r\naccept: text/csv");
    let path = "/usage?from=2026-11-21&to=2026-11-21";
    let answer = rig.ask("GET", path, &accepts, &Value::Null).await;
    assert_eq!(answer.text, expected);
}

async fn usage_takes_its_grant_and_days_that_there_are(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["usage:read"]).await;
    let without = rig.key("acme", &["stream:read", "positions:read"]).await;
    let refused = rig.ask("GET", "/usage", &without, &Value::Null).await;
    assert_eq!(refused.status, 403);
    for query in [
        "from=yesterday",
        "from=2026-02-30",
        "from=2026-11-22&to=2026-11-21",
        "from=2020-01-01&to=2026-11-21",
    ] {
        let path = format!("/usage?{query}");
        let answer = rig.ask("GET", &path, &key, &Value::Null).await;
        assert_eq!(answer.status, 422, "{query}: {}", answer.body);
    }
    let usual = rig.ask("GET", "/usage", &key, &Value::Null).await;
    assert_eq!(usual.body["days"].as_array().unwrap().len(), 30);
    let all = rig.ask("GET", "/operator/usage", &key, &Value::Null).await;
    assert_eq!(all.status, 403);
}

async fn a_quota_is_told_with_what_is_used_of_it(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["usage:read"]).await;
    let limits = json!({"events_per_day": 100});
    let path = "/tenants/acme/limits";
    assert_eq!(rig.operate("PUT", path, &limits).await.status, 200);
    let acme = id(&rig, "acme").await;
    let today = laneway_runtime::Clock::now_us(&laneway_runtime::SystemClock) / 86_400_000_000;
    used(&rig.store, &acme, &[(today, 40)]).await;
    let expected = json!([{"quota": "events_per_day", "limit": 100, "used": 40}]);
    until(
        "the quota to be known",
        std::time::Duration::from_secs(20),
        || async {
            let answer = rig.ask("GET", "/usage", &key, &Value::Null).await;
            answer.body["quotas"] == expected
        },
    )
    .await
    .unwrap();
}

async fn the_operator_reads_the_usage_of_all_tenants_in_pages(database: Database) {
    let rig = rig(database).await;
    let mut expected = Vec::new();
    for (number, slug) in (1..).zip(["one", "two", "three"]) {
        rig.tenant(slug, &["usage:read"]).await;
        let id = id(&rig, slug).await;
        used(&rig.store, &id, &[(DAY, number)]).await;
        expected.push((id, slug.to_owned(), number));
    }
    expected.sort();
    let mut found = Vec::new();
    let mut path = "/operator/usage?day=2026-11-21&limit=1".to_owned();
    loop {
        let page = rig.operate("GET", &path, &Value::Null).await;
        assert_eq!(page.status, 200, "{}", page.body);
        for item in page.body["items"].as_array().unwrap() {
            let events = item["events"].as_i64().unwrap();
            if events > 0 {
                let text = |name: &str| item[name].as_str().unwrap().to_owned();
                assert_eq!(text("day"), "2026-11-21");
                found.push((text("tenant_id"), text("slug"), events));
            }
        }
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/operator/usage?day=2026-11-21&limit=1&after={next}");
    }
    assert_eq!(found, expected);
}
