//! Partners read what tenants grant to them, and nothing else.

use std::time::{Duration, Instant};

use http::StatusCode;
use http_body_util::BodyExt;
use laneway_runtime::{Clock, SystemClock};
use laneway_store::audit::AuditQuery;
use laneway_tenancy::GrantId;
use laneway_tenancy::control::{GrantBody, TenantBody, TenantKind, TenantState};
use serde_json::{Value, json};

use crate::rig::client::{Sse, Subscriber, get, get_at, ids};
use crate::rig::{Rig, Tenant};

/// From the control change to the end of the connections.
const SOON: Duration = Duration::from_secs(1);
const POSITIONS: &str = "laneway.position";

async fn partner(rig: &Rig, number: u128) -> Tenant {
    let kind = |body: &mut TenantBody| body.kind = TenantKind::Partner;
    rig.tenant_with(number, 1, kind).await
}

fn terms(partner: &Tenant, types: &[&str], devices: &[&str]) -> GrantBody {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    GrantBody {
        partner: partner.id,
        event_types: owned(types),
        devices: owned(devices),
        expires_at: SystemClock.now_us() + 3_600_000_000,
    }
}

async fn granted(rig: &Rig, number: u128, tenant: &Tenant, terms: &GrantBody) -> GrantId {
    let id = GrantId::from_u128(number);
    rig.grant(tenant, id, Some(terms)).await;
    id
}

async fn subscribed(
    address: std::net::SocketAddr,
    key: &str,
    grant: GrantId,
    subscribe: Value,
) -> Subscriber {
    let target = format!("/stream?grant={grant}");
    let mut socket = Subscriber::connect_at(address, key, &target).await;
    socket.say(subscribe).await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_its_grants_apart_and_of_each_no_more_than_it_gives() {
    let rig = Rig::new(1).await;
    let (one, two) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let partner = partner(&rig, 3).await;
    let all = granted(&rig, 1, &one, &terms(&partner, &[POSITIONS], &[])).await;
    let some = granted(&rig, 2, &two, &terms(&partner, &[POSITIONS], &["a", "b"])).await;
    let windows = granted(&rig, 3, &two, &terms(&partner, &["laneway.window"], &[])).await;
    let address = rig.sink(|_| {}).await;
    for n in 0..5 {
        for tenant in [&one, &two] {
            for device in ["a", "b", "c"] {
                rig.append(tenant, device, [n]).await;
            }
        }
    }
    let earliest = json!({"type": "subscribe", "from": "earliest"});
    let mut of_one = subscribed(address, &partner.key, all, earliest.clone()).await;
    assert_eq!(of_one.hello["tenant"], one.id.to_string());
    let events = of_one.events(15).await;
    let tenants = |events: &[Value], tenant: &Tenant| {
        events
            .iter()
            .all(|e| e.to_string().contains(&tenant.id.to_string()))
    };
    assert!(tenants(&events, &one), "{events:?}");
    let mut of_two = subscribed(address, &partner.key, some, earliest.clone()).await;
    let events = of_two.events(10).await;
    assert!(tenants(&events, &two), "{events:?}");
    assert!(ids(&events).iter().all(|id| !id.starts_with('c')));
    // What it asks for itself is within the grant.
    let mut asks = earliest.clone();
    asks["devices"] = json!(["b", "c"]);
    let mut own = subscribed(address, &partner.key, some, asks).await;
    assert_eq!(ids(&own.events(5).await)[4], "b-4.1");
    let mut none = subscribed(address, &partner.key, windows, earliest).await;
    none.next("caught_up").await;
    rig.append(&two, "c", [9]).await;
    rig.append(&one, "a", [9]).await;
    for socket in [&mut of_two, &mut own, &mut none] {
        socket.assert_silent().await;
    }
    assert_eq!(ids(&of_one.events(1).await), ["a-9.1"]);

    let asks = json!({"type": "subscribe", "devices": ["c"]});
    let mut refused = subscribed(address, &partner.key, some, asks).await;
    assert_eq!(refused.next("error").await["problem"]["status"], 403);
    let query = format!("?grant={some}&from=earliest&event_types=laneway.window");
    let refused = get(address, &partner.key, &query, None).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let query = format!("?grant={some}&from=earliest");
    let mut sse = Sse::open(address, &partner.key, &query, None).await;
    for (_, event) in sse.events(10).await {
        assert_ne!(event["subject"], "c", "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_closes_what_is_open_by_it_and_nothing_else() {
    let rig = Rig::new(1).await;
    let (one, two) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let partner = partner(&rig, 3).await;
    let body = terms(&partner, &[POSITIONS], &[]);
    let revoked = granted(&rig, 1, &one, &body).await;
    let second = granted(&rig, 2, &one, &body).await;
    let other = granted(&rig, 3, &two, &body).await;
    let address = rig.sink(|_| {}).await;
    let live = json!({"type": "subscribe"});
    let mut gone = subscribed(address, &partner.key, revoked, live.clone()).await;
    let mut stays = subscribed(address, &partner.key, second, live.clone()).await;
    let mut elsewhere = subscribed(address, &partner.key, other, live.clone()).await;
    let mut own = Subscriber::send(address, &one.key, live.clone()).await;
    let query = format!("?grant={revoked}");
    let mut sse = Sse::open(address, &partner.key, &query, None).await;
    for socket in [&mut gone, &mut stays, &mut elsewhere, &mut own] {
        socket.next("subscribed").await;
    }
    let began = Instant::now();
    rig.grant(&one, revoked, None).await;
    assert_eq!(gone.closed().await.0, 4401);
    let problem = sse.error().await;
    let kind = "https://laneway.dev/problems/credentials-changed";
    assert_eq!(problem["type"], kind);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    rig.append(&one, "a", [1]).await;
    rig.append(&two, "a", [2]).await;
    assert_eq!(ids(&stays.events(1).await), ["a-1.1"]);
    assert_eq!(ids(&own.events(1).await), ["a-1.1"]);
    assert_eq!(ids(&elsewhere.events(1).await), ["a-2.1"]);
    let again = get(address, &partner.key, &query, None).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);

    rig.revoke_key(&partner).await;
    for socket in [&mut stays, &mut elsewhere] {
        assert_eq!(socket.closed().await.0, 4401);
    }
    own.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_at_its_expiry_and_with_either_side() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let partner = partner(&rig, 3).await;
    let mut body = terms(&partner, &[POSITIONS], &[]);
    let lasting = granted(&rig, 1, &tenant, &body).await;
    body.expires_at = SystemClock.now_us() + 2_000_000;
    let short = granted(&rig, 2, &tenant, &body).await;
    let address = rig.sink(|_| {}).await;
    let live = json!({"type": "subscribe"});
    let mut ends = subscribed(address, &partner.key, short, live.clone()).await;
    let mut stays = subscribed(address, &partner.key, lasting, live.clone()).await;
    ends.next("subscribed").await;
    stays.next("subscribed").await;
    assert_eq!(ends.closed().await.0, 4401);
    let late = SystemClock.now_us() - body.expires_at;
    assert!((0..1_000_000).contains(&late), "{late}");
    stays.assert_silent().await;
    let kind_of = async |grant: GrantId| {
        let answer = get(address, &partner.key, &format!("?grant={grant}"), None).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["type"].as_str().unwrap().to_owned())
    };
    let inactive = (
        403,
        "https://laneway.dev/problems/grant-inactive".to_owned(),
    );
    assert_eq!(kind_of(short).await, inactive);

    let mut suspended = TenantBody::plain("tenant-1", tenant.placement.clone());
    suspended.state = TenantState::Suspended;
    rig.tell_tenant(tenant.id, &suspended).await;
    assert_eq!(stays.closed().await.0, 4401);
    assert_eq!(kind_of(lasting).await, inactive);
    suspended.state = TenantState::Active;
    rig.tell_tenant(tenant.id, &suspended).await;
    let mut again = subscribed(address, &partner.key, lasting, live.clone()).await;
    again.next("subscribed").await;
    // The partner's own side.
    let mut away = TenantBody::plain("tenant-3", partner.placement.clone());
    away.kind = TenantKind::Partner;
    away.state = TenantState::Suspended;
    rig.tell_tenant(partner.id, &away).await;
    assert_eq!(again.closed().await.0, 4401);
    // What a closed tenant granted is no more.
    suspended.state = TenantState::Closed;
    rig.tell_tenant(tenant.id, &suspended).await;
    assert_eq!(rig.directory.grant(lasting), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_others_is_as_if_there_were_none() {
    let rig = Rig::new(1).await;
    let (tenant, stranger) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let (mine, theirs) = (partner(&rig, 3).await, partner(&rig, 4).await);
    let grant = granted(&rig, 1, &tenant, &terms(&mine, &[POSITIONS], &[])).await;
    let unknown = GrantId::from_u128(99);
    let address = rig.sink(|_| {}).await;
    let mut answers = Vec::new();
    for (key, grant) in [
        (&theirs.key, grant),
        (&theirs.key, unknown),
        (&mine.key, unknown),
        (&stranger.key, grant),
        (&tenant.key, grant),
    ] {
        let answer = get(address, key, &format!("?grant={grant}"), None).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        answers.push(answer.into_body().collect().await.unwrap().to_bytes());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    for query in ["", "?from=earliest", "?grant=", "?grant=grt_1"] {
        let answer = get(address, &mine.key, query, None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    // By the tenant's own name neither: its credentials are the partner's.
    let target = format!("/t/tenant-1/stream?grant={grant}");
    let named = get_at(address, &mine.key, &target, None).await;
    assert_eq!(named.status(), StatusCode::FORBIDDEN);
    let target = format!("/t/tenant-3/stream?grant={grant}");
    let named = get_at(address, &mine.key, &target, None).await;
    assert_eq!(named.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_token_is_good_for_itself_at_that_tenant_alone() {
    let rig = Rig::new(1).await;
    let (one, two) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let (mine, theirs) = (partner(&rig, 3).await, partner(&rig, 4).await);
    let first = granted(&rig, 1, &one, &terms(&mine, &[POSITIONS], &[])).await;
    let other = granted(&rig, 2, &two, &terms(&mine, &[POSITIONS], &[])).await;
    let foreign = granted(&rig, 3, &one, &terms(&theirs, &[POSITIONS], &[])).await;
    let address = rig.sink(|_| {}).await;
    rig.append(&one, "a", 0..2).await;
    rig.append(&two, "a", 0..2).await;
    let query = |grant: GrantId| format!("?grant={grant}&from=earliest");
    let mut sse = Sse::open(address, &mine.key, &query(first), None).await;
    let (token, _) = sse.next().await;
    let mut own = Sse::open(address, &one.key, "?from=earliest", None).await;
    let (of_tenant, _) = own.next().await;
    for (key, query, token) in [
        (&mine.key, query(other), &token),
        (&theirs.key, query(foreign), &token),
        (&one.key, String::new(), &token),
        (&mine.key, query(first), &of_tenant),
    ] {
        let refused = get(address, key, &query, Some(token)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{query}");
    }
    // By a later grant of the same tenant it goes on where it was.
    rig.grant(&one, first, None).await;
    let renewed = granted(&rig, 4, &one, &terms(&mine, &[POSITIONS], &[])).await;
    let query = format!("?grant={renewed}");
    let mut again = Sse::open(address, &mine.key, &query, Some(&token)).await;
    assert_eq!(again.next().await.1["id"], "a-1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_opens_is_in_the_trail_of_the_tenant_whose_stream_it_is() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let partner = partner(&rig, 3).await;
    let grant = granted(&rig, 1, &tenant, &terms(&partner, &[POSITIONS], &[])).await;
    let address = rig.sink(|_| {}).await;
    let query = format!("?grant={grant}");
    for _ in 0..2 {
        let opened = get(address, &partner.key, &query, None).await;
        assert_eq!(opened.status(), StatusCode::OK);
    }
    Subscriber::open(address, &tenant.key, json!("live")).await;
    let store = rig.store().await;
    let all = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let entries = store.audit(&tenant.scope).list(&all).await.unwrap();
    assert_eq!(entries.len(), 2, "{entries:#?}");
    let facts = &entries[0].facts;
    assert_eq!(facts.action, "GET /stream");
    assert_eq!(facts.target, format!("grant={grant}"));
    assert_eq!(facts.principal_tenant, partner.id.to_string());
    assert!(facts.principal.starts_with("key:"));
    assert_eq!(store.audit(&partner.scope).list(&all).await.unwrap(), []);
    for _ in 0..100 {
        let answer = get(address, &partner.key, &query, None).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
    }
    panic!("a grant is opened as often as one likes");
}
