//! Hosts and paths that name a tenant, held against credentials.

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::LocationUpdate;
use laneway_store::HostProof;
use laneway_tenancy::control::{Limits, TenantState};
use laneway_tenancy::{LocalSocket, OperatorScope, TenantScope};

use crate::rig::{NOW, Reply, Rig};

const FIX: &str = r#"{"recorded_at":1795226838500,"lat":1,"lon":2}"#;

/// Registers and proves a host.
async fn live(rig: &Rig, tenant: &TenantScope, host: &str) {
    let host = host.parse().unwrap();
    let hosts = rig.store.hosts(tenant);
    hosts.register(&host, "t", 10, NOW).await.unwrap();
    let proof = HostProof {
        at: NOW,
        next: NOW,
        outcome: Ok(()),
        stops: false,
    };
    hosts.note(&host, proof).await.unwrap();
    rig.relay().await;
}

async fn send(rig: &Rig, authorization: &str, host: &str, prefix: &str) -> Reply {
    let path = format!("{prefix}/location/update");
    rig.send("POST", authorization, &path, &[("host", host)], FIX)
        .await
}

#[tokio::test]
async fn a_host_or_path_of_another_tenant_is_refused_alike_whether_or_not_there_is_one() {
    let rig = Rig::start().await;
    let acme = rig.tenant("acme", Limits::default()).await;
    let other = rig.tenant("other", Limits::default()).await;
    let device = rig.device(&acme, "truck").await;
    live(&rig, &acme, "tracks.acme.example").await;
    live(&rig, &other, "*.other.example").await;
    // Once to be in the cache, and once more from it.
    for _ in 0..2 {
        for (host, prefix) in [
            ("localhost", ""),
            ("localhost", "/t/acme"),
            ("Tracks.Acme.example:8443", ""),
            ("tracks.acme.example", "/t/acme"),
            ("acme.tenants.example", ""),
        ] {
            let reply = send(&rig, &device, host, prefix).await;
            assert_eq!(reply.status, StatusCode::OK, "{host} {prefix}");
        }
    }
    let accepted = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    let mut refused = Vec::new();
    for (host, prefix) in [
        ("x.other.example", ""),
        ("other.tenants.example", ""),
        ("nobody.tenants.example", ""),
        ("unregistered.example", ""),
        ("not a host", ""),
        ("localhost", "/t/other"),
        ("localhost", "/t/nobody"),
        ("localhost", "/t/default"),
        ("localhost", "/t/No-Slug"),
        ("tracks.acme.example", "/t/other"),
        ("tracks.acme.example", "/t/nobody"),
        ("x.other.example", "/t/acme"),
    ] {
        let reply = send(&rig, &device, host, prefix).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{host} {prefix}");
        assert_eq!(reply.kind(), "tenant-mismatch", "{host} {prefix}");
        refused.push((reply.json, reply.headers));
    }
    for (json, headers) in &refused {
        assert_eq!(json, &refused[0].0);
        assert_eq!(headers.len(), refused[0].1.len());
        assert_eq!(
            headers.get("content-length"),
            refused[0].1.get("content-length")
        );
    }
    let after = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    assert_eq!(after.len(), accepted.len(), "nothing refused was taken");
}

#[tokio::test]
async fn headers_that_name_a_tenant_are_never_believed() {
    let rig = Rig::start().await;
    let acme = rig.tenant("acme", Limits::default()).await;
    rig.tenant("other", Limits::default()).await;
    let device = rig.device(&acme, "truck").await;
    for name in ["x-laneway-tenant", "X-Tenant-Id", "X-Forwarded-Host"] {
        let headers = [(name, "other.tenants.example")];
        let path = "/location/update";
        let reply = rig.send("POST", &device, path, &headers, FIX).await;
        assert_eq!(reply.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_tenant_is_not_found_and_an_inactive_one_told_to_its_own_alone() {
    let rig = Rig::start().await;
    let acme = rig.tenant("acme", Limits::default()).await;
    let other = rig.tenant("other", Limits::default()).await;
    let own = rig.device(&acme, "truck").await;
    let foreign = rig.device(&other, "truck").await;
    let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
    let tenants = rig.store.tenants(&operator);
    let suspended = tenants.set_state(acme.tenant(), TenantState::Suspended, NOW);
    suspended.await.unwrap();
    rig.relay().await;
    for (authorization, prefix, status, kind) in [
        (own.as_str(), "/t/acme", 403, "tenant-inactive"),
        (&own, "", 403, "tenant-inactive"),
        (&foreign, "/t/acme", 403, "tenant-mismatch"),
        (&foreign, "/t/nobody", 403, "tenant-mismatch"),
        ("", "/t/acme", 401, "unauthorized"),
        ("", "/t/nobody", 404, "tenant-not-found"),
        ("", "", 401, "unauthorized"),
        ("Bearer nonsense", "/t/acme", 401, "unauthorized"),
        ("Bearer nonsense", "/t/nobody", 401, "unauthorized"),
    ] {
        let reply = send(&rig, authorization, "localhost", prefix).await;
        let found = (reply.status.as_u16(), reply.kind());
        assert_eq!(found, (status, kind), "{authorization:?} {prefix}");
    }
    let reply = send(&rig, "", "nobody.tenants.example", "").await;
    assert_eq!(reply.kind(), "tenant-not-found");
    let reply = send(&rig, "", "other.tenants.example", "/t/acme").await;
    assert_eq!(reply.kind(), "tenant-mismatch");
}
