//! What a tenant's limits and options say of its streams.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt;
use laneway_runtime::{Clock, Lifecycle, SystemClock};
use laneway_sink::SinkSettings;
use laneway_sink::position::{LanePosition, TokenKey};
use laneway_store::NewTenant;
use laneway_store::audit::AuditQuery;
use laneway_tenancy::limits::SHARE_EXPIRES_MS;
use laneway_tenancy::{LocalSocket, OperatorScope};
use laneway_testkit::wait::{eventually, until};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::rig::client::{Sse, Subscriber, get, ids};
use crate::rig::{Rig, TOKEN_KEY, Tenant};

const BOUND: Duration = Duration::from_secs(60);
const FULL: StatusCode = StatusCode::TOO_MANY_REQUESTS;

fn seconds_now() -> u64 {
    SystemClock.now_us().cast_unsigned() / 1_000_000
}

async fn kind(response: http::Response<hyper::body::Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let kind = body["type"].as_str().unwrap();
    kind.rsplit('/').next().unwrap().to_owned()
}

fn beginning(tenant: &Tenant) -> String {
    let lanes = tenant.placement.lanes.iter();
    let positions: Vec<LanePosition> = lanes
        .map(|lane| LanePosition {
            generation: 1,
            lane: *lane,
            next: 0,
        })
        .collect();
    TokenKey::new(TOKEN_KEY)
        .unwrap()
        .seal(&tenant.scope, &positions)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reads_no_further_back_than_its_retention() {
    let rig = Rig::new(1).await;
    // The events are of 1970: of its first hours, the last ones are within the retention.
    let limited = rig.tenant_with(1, 1, |body| {
        body.limits.retention_seconds = seconds_now() - 15_000;
    });
    let limited = limited.await;
    let free = rig.tenant(2, 1).await;
    let address = rig.sink(|_| {}).await;
    for tenant in [&limited, &free] {
        rig.append(tenant, "a", [0, 10_000, 20_000, 30_000]).await;
    }
    let left = ["a-20000.1", "a-30000.1"];
    for from in [json!("earliest"), json!({"time": "1970-01-01T00:00:00Z"})] {
        let mut socket = Subscriber::open(address, &limited.key, from.clone()).await;
        assert_eq!(ids(&socket.events(2).await), left, "{from}");
        socket.assert_silent().await;
        let mut socket = Subscriber::open(address, &free.key, from).await;
        assert_eq!(socket.events(4).await.len(), 4);
    }
    let mut sse = Sse::open(address, &limited.key, "?from=earliest", None).await;
    let events = sse.events(2).await;
    assert_eq!(events[0].1["id"], left[0]);
    let query = format!("?from={}", beginning(&limited));
    let gone = get(address, &limited.key, &query, None).await;
    assert_eq!(gone.status(), StatusCode::GONE);
    assert_eq!(kind(gone).await, "position-expired");
    // A position within it is as good as ever.
    let mut again = Sse::open(address, &limited.key, "", Some(&events[0].0)).await;
    assert_eq!(again.next().await.1["id"], left[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_no_more_streams_open_than_its_limit() {
    let rig = Rig::new(1).await;
    let limited = rig.tenant_with(1, 1, |body| body.limits.sockets = 2).await;
    let other = rig.tenant(2, 1).await;
    let address = rig.sink(|_| {}).await;
    let mut socket = Subscriber::open(address, &limited.key, json!("live")).await;
    socket.next("subscribed").await;
    let sse = get(address, &limited.key, "?from=live", None).await;
    assert_eq!(sse.status(), StatusCode::OK);
    let third = get(address, &limited.key, "?from=live", None).await;
    assert_eq!(third.status(), FULL);
    assert_eq!(kind(third).await, "too-many-connections");
    let unharmed = get(address, &other.key, "?from=live", None).await;
    assert_eq!(unharmed.status(), StatusCode::OK);
    drop(sse);
    until("room for another", BOUND, || async {
        get(address, &limited.key, "?from=live", None)
            .await
            .status()
            == StatusCode::OK
    })
    .await
    .unwrap();
}

/// `Err` where there is no room.
async fn connect(address: SocketAddr, tenant: &Tenant) -> Result<Subscriber, ()> {
    let opened = Subscriber::try_connect_at(address, &tenant.key, "/stream").await;
    opened.map_err(|status| assert_eq!(status, FULL))
}

/// A connection as soon as there is room.
async fn room(address: SocketAddr, tenant: &Tenant) -> Subscriber {
    eventually("room", BOUND, || async {
        connect(address, tenant).await.ok()
    })
    .await
    .unwrap()
}

/// Until there is no room, not even for one.
async fn full(address: SocketAddr, tenant: &Tenant) {
    until("no room", BOUND, || async {
        let Ok(found) = connect(address, tenant).await else {
            return true;
        };
        drop(found);
        // It is not to be what keeps the next one out.
        tokio::time::sleep(Duration::from_millis(200)).await;
        false
    })
    .await
    .unwrap();
}

fn only_streams(settings: &mut SinkSettings) {
    settings.delivery.enabled = false;
    settings.projection.enabled = false;
    settings.metering.enabled = false;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_no_more_streams_open_at_all_sinks_together_than_its_limit() {
    let rig = Rig::new(1).await;
    let limited = rig.tenant_with(1, 1, |body| body.limits.sockets = 2).await;
    let one = rig.sink(only_streams).await;
    let life = Lifecycle::new();
    let two = rig.sink_as("sink-2", &life, only_streams).await;
    let first = room(one, &limited).await;
    let second = room(one, &limited).await;
    full(two, &limited).await;
    // One that has heard nothing of the tenant yet asks before it lets anybody in.
    let three = rig.sink_as("sink-3", &rig.lifecycle, only_streams).await;
    assert!(connect(three, &limited).await.is_err());
    drop(first);
    let third = room(two, &limited).await;
    full(one, &limited).await;
    drop(second);
    let fourth = room(one, &limited).await;
    full(one, &limited).await;
    // One that is drained takes back what it told.
    let drained = Instant::now();
    life.drain();
    let fifth = room(one, &limited).await;
    assert!(
        drained.elapsed() < Duration::from_millis(SHARE_EXPIRES_MS),
        "{:?}",
        drained.elapsed()
    );
    drop((third, fourth, fifth));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_each_sink_counts_its_own_streams_alone() {
    let rig = Rig::new(1).await;
    let limited = rig.tenant_with(1, 1, |body| body.limits.sockets = 1).await;
    let one = rig.sink(only_streams).await;
    let two = rig.sink_as("sink-2", &rig.lifecycle, only_streams).await;
    let _open = room(one, &limited).await;
    full(two, &limited).await;
    let mut database = rig.database("store").await;
    let away = "ALTER TABLE socket_shares RENAME TO socket_shares_away";
    database.execute(away).await.unwrap();
    let alone = room(two, &limited).await;
    full(one, &limited).await;
    drop(alone);
    let back = "ALTER TABLE socket_shares_away RENAME TO socket_shares";
    database.execute(back).await.unwrap();
    full(two, &limited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_opens_from_the_tenants_networks_alone() {
    let rig = Rig::new(1).await;
    let networks = |text: &str| vec![text.to_owned()];
    let elsewhere = rig.tenant_with(1, 1, |body| body.options.ip_allow = networks("10.0.0.0/8"));
    let elsewhere = elsewhere.await;
    let here = rig.tenant_with(2, 1, |body| body.options.ip_allow = networks("127.0.0.1"));
    let here = here.await;
    let address = rig.sink(|_| {}).await;
    let store = rig.store().await;
    let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
    let new = NewTenant::plain(elsewhere.id, "tenant-1", elsewhere.placement.clone());
    store.tenants(&operator).create(new, 1).await.unwrap();
    let refused = get(address, &elsewhere.key, "", None).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(kind(refused).await, "address-not-allowed");
    let opened = get(address, &here.key, "", None).await;
    assert_eq!(opened.status(), StatusCode::OK);
    let query = AuditQuery {
        limit: 10,
        action: "GET /stream".to_owned(),
        ..AuditQuery::default()
    };
    until("an entry in the audit trail", BOUND, || async {
        let audit = store.audit(&elsewhere.scope);
        let found = audit.list(&query).await.unwrap();
        let outcomes: Vec<&str> = found.iter().map(|e| e.facts.outcome.as_str()).collect();
        outcomes == ["403 address-not-allowed"]
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_does() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.key_ends(&tenant, SystemClock.now_us() + 1_500_000);
    let address = rig.sink(|_| {}).await;
    let opened = Instant::now();
    let mut socket = Subscriber::open(address, &tenant.key, json!("live")).await;
    socket.next("subscribed").await;
    let (code, _) = socket.closed().await;
    assert_eq!(code, 4401);
    assert!(
        opened.elapsed() < Duration::from_secs(4),
        "{:?}",
        opened.elapsed()
    );
}
