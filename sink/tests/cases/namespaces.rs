//! A tenant's key at the streams of what is below it.

use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt;
use laneway_notices::{Kind, RUNTIME_SLUG, Saying, Severity};
use laneway_tenancy::control::{TenantBody, TenantKind, TenantState};
use serde_json::{Value, json};

use crate::rig::client::{Sse, Subscriber, get_at, ids};
use crate::rig::{Rig, Tenant};

/// From the control change to the end of the connections.
const SOON: Duration = Duration::from_secs(1);

async fn below(rig: &Rig, number: u128, parent: &Tenant, kind: TenantKind) -> Tenant {
    let change = |body: &mut TenantBody| {
        body.parent = Some(parent.id);
        body.kind = kind;
    };
    rig.tenant_with(number, 1, change).await
}

async fn refusal(address: std::net::SocketAddr, key: &str, target: &str) -> (u16, String) {
    let answer = get_at(address, key, target, None).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let kind = body["type"].as_str().unwrap();
    (status, kind.rsplit('/').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_key_reads_the_stream_of_its_namespace_by_name_until_it_is_revoked() {
    let rig = Rig::new(1).await;
    let (acme, other) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let fleet = below(&rig, 3, &acme, TenantKind::Namespace).await;
    let hosts = rig.directory.hosts();
    hosts.set_host(&"fleet.acme.example".parse().unwrap(), fleet.id);
    let address = rig.sink(|_| {}).await;
    rig.append(&acme, "a", [0]).await;
    rig.append(&fleet, "a", [1]).await;
    let earliest = json!({"type": "subscribe", "from": "earliest"});
    let mut socket = Subscriber::connect_at(address, &acme.key, "/t/tenant-3/stream").await;
    assert_eq!(socket.hello["tenant"], fleet.id.to_string());
    socket.say(earliest.clone()).await;
    assert_eq!(ids(&socket.events(1).await), ["a-1.1"]);
    let answer = get_at(address, &acme.key, "/t/tenant-3/stream?from=earliest", None).await;
    let mut sse = Sse::of(answer);
    assert_eq!(sse.next().await.1["id"], "a-1.1");
    let mut home = Subscriber::send(address, &acme.key, earliest.clone()).await;
    assert_eq!(ids(&home.events(1).await), ["a-0.1"]);
    let mut own = Subscriber::send(address, &fleet.key, earliest).await;
    assert_eq!(ids(&own.events(1).await), ["a-1.1"]);
    for (key, target) in [
        (&other.key, "/t/tenant-3/stream"),
        (&fleet.key, "/t/tenant-1/stream"),
        (&acme.key, "/t/tenant-2/stream"),
    ] {
        let refused = refusal(address, key, target).await;
        assert_eq!(refused, (403, "tenant-mismatch".to_owned()), "{target}");
    }
    let began = Instant::now();
    rig.revoke_key(&acme).await;
    for socket in [&mut socket, &mut home] {
        assert_eq!(socket.closed().await.0, 4401);
    }
    sse.error().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    own.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_active_closes_what_is_open_and_is_told_as_such() {
    let rig = Rig::new(1).await;
    let acme = rig.tenant(1, 1).await;
    let fleet = below(&rig, 3, &acme, TenantKind::Namespace).await;
    let address = rig.sink(|_| {}).await;
    let mut socket = Subscriber::connect_at(address, &acme.key, "/t/tenant-3/stream").await;
    let mut body = TenantBody::plain("tenant-3", fleet.placement.clone());
    body.parent = Some(acme.id);
    body.kind = TenantKind::Namespace;
    body.state = TenantState::Suspended;
    rig.tell_tenant(fleet.id, &body).await;
    assert_eq!(socket.closed().await.0, 4401);
    let refused = refusal(address, &acme.key, "/t/tenant-3/stream").await;
    assert_eq!(refused, (403, "tenant-inactive".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_tenants_tenant_is_read_as_long_as_that_lets_it_be() {
    let rig = Rig::new(1).await;
    let acme = rig.tenant(1, 1).await;
    let shop = below(&rig, 3, &acme, TenantKind::Tenant).await;
    let address = rig.sink(|_| {}).await;
    rig.append(&shop, "a", [1]).await;
    let target = "/t/tenant-3/stream?from=earliest";
    let refused = (403, "tenant-mismatch".to_owned());
    assert_eq!(refusal(address, &acme.key, target).await, refused);
    let mut body = TenantBody::plain("tenant-3", shop.placement.clone());
    body.parent = Some(acme.id);
    body.options.parent_may_read = true;
    rig.tell_tenant(shop.id, &body).await;
    let opened = get_at(address, &acme.key, target, None).await;
    assert_eq!(opened.status(), StatusCode::OK);
    let mut sse = Sse::of(opened);
    assert_eq!(sse.next().await.1["id"], "a-1.1");
    body.options.parent_may_read = false;
    rig.tell_tenant(shop.id, &body).await;
    sse.error().await;
    assert_eq!(refusal(address, &acme.key, target).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_tenants_read_the_platforms_notices_and_no_other_stream_by_that() {
    let rig = Rig::new(1).await;
    let acme = rig.tenant(1, 1).await;
    let partner = |body: &mut TenantBody| body.kind = TenantKind::Partner;
    let partner = rig.tenant_with(2, 1, partner).await;
    let runtime = |body: &mut TenantBody| {
        body.slug = RUNTIME_SLUG.to_owned();
        body.kind = TenantKind::Runtime;
    };
    let runtime = rig.tenant_with(3, 1, runtime).await;
    let address = rig.sink(|_| {}).await;
    let announcer = rig.announcer();
    let saying = Saying::new(Kind::Deployment, Severity::Info, "sink 1.2 serves");
    let said = announcer.say(saying.with("version", "1.2")).await.unwrap();
    rig.append(&acme, "a", [0]).await;
    let answer = get_at(address, &acme.key, "/t/runtime/stream?from=earliest", None).await;
    let event = Sse::of(answer).next().await.1;
    assert_eq!(event["id"], said.event_id);
    assert_eq!(event["type"], "laneway.notice");
    assert_eq!(event["source"], "/runtime/sink");
    assert_eq!(event["tenantid"], runtime.id.to_string());
    let data = &event["data"];
    assert_eq!(data["title"], "sink 1.2 serves");
    assert_eq!(data["details"], json!({"version": "1.2"}));
    assert_eq!(
        (&data["text"], &data["kind"]),
        (&Value::Null, &json!("deployment"))
    );
    let mut home = Subscriber::send(
        address,
        &acme.key,
        json!({"type": "subscribe", "from": "earliest"}),
    )
    .await;
    assert_eq!(ids(&home.events(1).await), ["a-0.1"]);
    let refused = refusal(address, &partner.key, "/t/runtime/stream").await;
    assert_eq!(refused, (403, "tenant-mismatch".to_owned()));
}
