//! Hosts of tenants: registered, proved by a record or a file, live everywhere, and lost.

mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use laneway_control::{ControlSettings, HostProofSettings};
use laneway_tenancy::Claim;
use laneway_tenancy::hosts::HostSettings;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, rig, rig_named};
use servers::{Dns, Files};

laneway_testkit::on_both_databases!(
    a_host_is_live_once_its_record_is_there_and_names_its_tenant_everywhere,
    a_file_proves_a_name_but_no_wildcard_and_only_where_the_guard_allows_it,
    two_tenants_may_register_a_host_and_one_of_them_proves_it,
    a_host_whose_proof_is_gone_for_long_is_live_no_more,
    names_of_the_platform_and_what_is_no_name_are_not_registered,
    a_certificate_has_to_cover_its_host,
    hosts_and_paths_of_other_tenants_are_refused_alike,
    a_tenant_is_created_with_its_hosts_or_not_at_all,
);

const BOUND: Duration = Duration::from_secs(60);

fn settings(dns: &Dns) -> HostProofSettings {
    HostProofSettings {
        resolver: dns.address.to_string(),
        timeout_ms: 5_000,
        look_every_ms: 20,
        ..HostProofSettings::default()
    }
}

async fn rig_of(database: Database, hosts: HostProofSettings) -> Rig {
    let control = ControlSettings {
        hosts,
        ..ControlSettings::default()
    };
    let names = HostSettings {
        site_domain: "laneway.example".to_owned(),
        tenant_domain: "tenants.example".to_owned(),
        ..HostSettings::default()
    };
    rig_named(database, control, names).await
}

const GRANTS: [&str; 3] = ["tenant:read", "tenant:write", "devices:read"];

async fn register(rig: &Rig, key: &str, host: &str) -> Answer {
    let made = rig.ask("POST", "/hosts", key, &json!({"host": host})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made
}

async fn verify(rig: &Rig, key: &str, host: &str) -> Answer {
    let path = format!("/hosts/{host}/verify");
    rig.ask("POST", &path, key, &Value::Null).await
}

fn token(host: &Answer) -> String {
    host.body["proof"]["token"].as_str().unwrap().to_owned()
}

fn kind(answer: &Answer) -> &str {
    let kind = answer.body["type"].as_str().unwrap_or_default();
    kind.rsplit('/').next().unwrap_or_default()
}

async fn claims(rig: &Rig, host: &str, expected: impl Fn(Claim) -> bool) {
    until("the directory to know of the host", BOUND, || async {
        expected(rig.directory.hosts().of_host(Some(host.as_bytes())))
    })
    .await
    .unwrap();
}

async fn a_host_is_live_once_its_record_is_there_and_names_its_tenant_everywhere(
    database: Database,
) {
    let dns = Dns::start().await;
    let rig = rig_of(database, settings(&dns)).await;
    let key = rig.tenant("acme", &GRANTS).await;
    let made = register(&rig, &key, "Tracks.Acme.example").await;
    assert_eq!(made.body["host"], "tracks.acme.example");
    assert_eq!(made.body["state"], "pending");
    let record = made.body["proof"]["record"].as_str().unwrap();
    assert_eq!(record, "_laneway.tracks.acme.example");

    let early = verify(&rig, &key, "tracks.acme.example").await;
    assert_eq!((early.status, kind(&early)), (409, "host-not-proved"));
    dns.text(record, "something else");
    let wrong = verify(&rig, &key, "tracks.acme.example").await;
    assert_eq!((wrong.status, kind(&wrong)), (409, "host-not-proved"));
    let found = rig
        .ask("GET", "/hosts/tracks.acme.example", &key, &Value::Null)
        .await;
    assert_eq!(found.body["state"], "pending");
    assert!(found.body["problem"].is_string() && found.body["proved_at"].is_null());

    dns.text(record, &token(&made));
    let live = verify(&rig, &key, "tracks.acme.example").await;
    assert_eq!((live.status, &live.body["state"]), (200, &json!("live")));
    claims(&rig, "tracks.acme.example", |c| {
        matches!(c, Claim::Tenant(_))
    })
    .await;
    let devices = ("GET", "/devices");
    let own = rig
        .ask_host("tracks.acme.example:8443", devices, &key, &Value::Null)
        .await;
    assert_eq!(own.status, 200, "{}", own.body);

    let path = "/hosts/tracks.acme.example";
    let deleted = rig.ask("DELETE", path, &key, &Value::Null).await;
    assert_eq!(deleted.status, 204);
    claims(&rig, "tracks.acme.example", |c| c == Claim::Unknown).await;
    assert_eq!(rig.ask("GET", path, &key, &Value::Null).await.status, 404);
}

async fn a_file_proves_a_name_but_no_wildcard_and_only_where_the_guard_allows_it(
    database: Database,
) {
    let dns = Dns::start().await;
    let files = Files::start().await;
    let http_port = files.address.port();
    dns.address_of("files.acme.example", files.address);
    let guarded = HostProofSettings {
        http_port,
        ..settings(&dns)
    };
    let allowing = HostProofSettings {
        allow_private_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..guarded.clone()
    };
    let host = "files.acme.example";
    for (settings, status) in [(guarded, 409), (allowing, 200)] {
        let rig = rig_of(database, settings).await;
        let key = rig.tenant("acme", &GRANTS).await;
        let made = register(&rig, &key, host).await;
        assert_eq!(
            made.body["proof"]["file"],
            "http://files.acme.example/.well-known/laneway-host"
        );
        let asked_before = files.asked();
        files.say(302, &token(&made));
        assert_eq!(verify(&rig, &key, host).await.status, 409, "a redirect");
        files.say(200, &"x".repeat(100_000));
        assert_eq!(verify(&rig, &key, host).await.status, 409, "too long");
        files.say(200, &token(&made));
        let answer = verify(&rig, &key, host).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        if status == 409 {
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("loopback"), "{detail}");
            assert_eq!(files.asked(), asked_before, "nothing was reached");
            continue;
        }
        let wildcard = register(&rig, &key, "*.files.acme.example").await;
        assert!(wildcard.body["proof"]["file"].is_null());
        files.say(200, &token(&wildcard));
        let refused = verify(&rig, &key, "*.files.acme.example").await;
        assert_eq!(refused.status, 409);
        dns.text("_laneway.files.acme.example", &token(&wildcard));
        let proved = verify(&rig, &key, "*.files.acme.example").await;
        assert_eq!(proved.status, 200, "{}", proved.body);
        claims(&rig, "x.files.acme.example", |c| {
            matches!(c, Claim::Tenant(_))
        })
        .await;
    }
}

async fn two_tenants_may_register_a_host_and_one_of_them_proves_it(database: Database) {
    let dns = Dns::start().await;
    let rig = rig_of(database, settings(&dns)).await;
    let squatter = rig.tenant("squatter", &GRANTS).await;
    let owner = rig.tenant("owner", &GRANTS).await;
    let host = "tracks.acme.example";
    let theirs = register(&rig, &squatter, host).await;
    let mine = register(&rig, &owner, host).await;
    assert_ne!(token(&theirs), token(&mine));
    let twice = rig
        .ask("POST", "/hosts", &owner, &json!({"host": host}))
        .await;
    assert_eq!(twice.status, 409);
    let record = "_laneway.tracks.acme.example";
    dns.text(record, &token(&mine));
    assert_eq!(verify(&rig, &squatter, host).await.status, 409);
    assert_eq!(verify(&rig, &owner, host).await.status, 200);
    // Even with both tokens there, it stays whose it is.
    dns.text(record, &token(&theirs));
    let taken = verify(&rig, &squatter, host).await;
    assert_eq!((taken.status, kind(&taken)), (409, "conflict"));
    // What one tenant has is nothing to another.
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/verify")] {
        let path = format!("/hosts/nobodys.acme.example{path}");
        let answer = rig.ask(method, &path, &squatter, &Value::Null).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    let listed = rig
        .operate("GET", "/tenants/owner/hosts", &Value::Null)
        .await;
    assert_eq!(listed.body["items"][0]["state"], "live", "{}", listed.body);
}

async fn a_host_whose_proof_is_gone_for_long_is_live_no_more(database: Database) {
    let dns = Dns::start().await;
    let settings = HostProofSettings {
        again_seconds: 0,
        retry_seconds: 0,
        grace_seconds: 0,
        ..settings(&dns)
    };
    let rig = rig_of(database, settings).await;
    let key = rig.tenant("acme", &GRANTS).await;
    let (host, record) = ("tracks.acme.example", "_laneway.tracks.acme.example");
    let made = register(&rig, &key, host).await;
    dns.text(record, &token(&made));
    assert_eq!(verify(&rig, &key, host).await.status, 200);
    claims(&rig, host, |c| matches!(c, Claim::Tenant(_))).await;
    dns.forget(record);
    claims(&rig, host, |c| c == Claim::Unknown).await;
    let path = "/hosts/tracks.acme.example";
    let found = rig.ask("GET", path, &key, &Value::Null).await;
    assert_eq!(found.body["state"], "failing", "{}", found.body);
    // It comes back by itself.
    dns.text(record, &token(&made));
    claims(&rig, host, |c| matches!(c, Claim::Tenant(_))).await;
}

async fn names_of_the_platform_and_what_is_no_name_are_not_registered(database: Database) {
    let dns = Dns::start().await;
    let hosts = HostProofSettings {
        max_hosts: 1,
        ..settings(&dns)
    };
    let rig = rig_of(database, hosts).await;
    let key = rig.tenant("acme", &GRANTS).await;
    let reader = rig.key("acme", &["tenant:read"]).await;
    for (host, status, expected) in [
        ("laneway.example", 403, "name-reserved"),
        ("api.laneway.example", 403, "name-reserved"),
        ("other.tenants.example", 403, "name-reserved"),
        ("*.tenants.example", 403, "name-reserved"),
        ("a.localhost", 403, "name-reserved"),
        ("localhost", 422, "invalid"),
        ("127.0.0.1", 422, "invalid"),
        ("co.uk", 422, "invalid"),
        ("müller.example", 422, "invalid"),
        ("xn--pypal-4ve.example", 422, "invalid"),
        ("a.example:80", 422, "invalid"),
    ] {
        let body = json!({"host": host});
        let answer = rig.ask("POST", "/hosts", &key, &body).await;
        assert_eq!((answer.status, kind(&answer)), (status, expected), "{host}");
    }
    let body = json!({"host": "one.acme.example"});
    let small = rig.ask("POST", "/hosts", &reader, &body).await;
    assert_eq!(small.status, 403);
    register(&rig, &key, "one.acme.example").await;
    let body = json!({"host": "two.acme.example"});
    let more = rig.ask("POST", "/hosts", &key, &body).await;
    assert_eq!((more.status, kind(&more)), (403, "limit-reached"));
}

async fn a_certificate_has_to_cover_its_host(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &GRANTS).await;
    register(&rig, &key, "tracks.acme.example").await;
    let issue = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (good, other) = (issue("tracks.acme.example"), issue("other.example"));
    let body = |chain: &rcgen::Certificate, key: &rcgen::KeyPair| json!({"certificate": chain.pem(), "key": key.serialize_pem()});
    let path = "/hosts/tracks.acme.example/certificate";
    for (sent, what) in [
        (body(&other.cert, &other.signing_key), "does not cover"),
        (body(&good.cert, &other.signing_key), "does not belong"),
        (json!({"certificate": "", "key": ""}), "no certificate"),
    ] {
        let refused = rig.ask("PUT", path, &key, &sent).await;
        assert_eq!(refused.status, 422);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(what), "{detail}");
    }
    let sent = body(&good.cert, &good.signing_key);
    let set = rig.ask("PUT", path, &key, &sent).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert!(set.body["certificate_expires_at"].is_string());
    assert!(!set.body.to_string().contains("PRIVATE"));
    let none = "/hosts/none.acme.example/certificate";
    assert_eq!(rig.ask("PUT", none, &key, &sent).await.status, 404);
}

async fn hosts_and_paths_of_other_tenants_are_refused_alike(database: Database) {
    let dns = Dns::start().await;
    let rig = rig_of(database, settings(&dns)).await;
    let key = rig.tenant("acme", &GRANTS).await;
    rig.tenant("other", &GRANTS).await;
    let operator = rig.operator_key().await;
    claims(&rig, "other.tenants.example", |c| {
        matches!(c, Claim::Tenant(_))
    })
    .await;
    let ask = async |host: &str, path: &str, key: &str| {
        rig.ask_host(host, ("GET", path), key, &Value::Null).await
    };
    for (host, path) in [
        ("laneway.example", "/devices"),
        ("laneway.example", "/t/acme/devices"),
        ("acme.tenants.example", "/devices"),
    ] {
        assert_eq!(ask(host, path, &key).await.status, 200, "{host} {path}");
    }
    let mut refused = Vec::new();
    for (host, path) in [
        ("other.tenants.example", "/devices"),
        ("nobody.tenants.example", "/devices"),
        ("unknown.example", "/devices"),
        ("laneway.example", "/t/other/devices"),
        ("laneway.example", "/t/nobody/devices"),
        ("acme.tenants.example", "/t/other/devices"),
    ] {
        let answer = ask(host, path, &key).await;
        let found = (answer.status, kind(&answer));
        assert_eq!(found, (403, "tenant-mismatch"), "{host} {path}");
        refused.push(answer);
        // An operator's key is the platform's: it is used at the platform's own names.
        let tenants = path.replace("/devices", "/tenants");
        assert_eq!(ask(host, &tenants, &operator).await.status, 403, "{host}");
        let unknown = host.contains("nobody") || host.contains("unknown");
        let status = match path {
            _ if unknown => 404,
            "/t/nobody/devices" => 404,
            "/t/other/devices" if host.starts_with("acme") => 403,
            _ => 401,
        };
        let nobody = ask(host, path, "").await;
        assert_eq!(nobody.status, status, "{host} {path}: {}", nobody.body);
    }
    assert!(refused.iter().all(|a| a.body == refused[0].body));
    assert_eq!(
        ask("laneway.example", "/tenants", &operator).await.status,
        200
    );
    // Over the local socket, what a host says is not looked at.
    let local = rig.operate("GET", "/tenants", &Value::Null).await;
    assert_eq!(local.status, 200);
}

/// Where a test's own servers listen.
fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn a_tenant_is_created_with_its_hosts_or_not_at_all(database: Database) {
    let dns = Dns::start().await;
    let rig = rig_of(database, settings(&dns)).await;
    let twice = json!({"tenant_id": "acme", "hosts": ["a.acme.example", "a.acme.example"]});
    let platforms =
        json!({"tenant_id": "acme", "hosts": ["a.acme.example", "www.laneway.example"]});
    let none = json!({"tenant_id": "acme", "hosts": ["no name"]});
    for (body, status) in [(twice, 409), (platforms, 403), (none, 422)] {
        let refused = rig.operate("POST", "/admin/tenants", &body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.body);
        let path = "/tenants/acme";
        assert_eq!(rig.operate("GET", path, &Value::Null).await.status, 404);
    }
    let body = json!({"tenant_id": "acme", "hosts": ["a.acme.example", "*.acme.example"]});
    let made = rig.operate("POST", "/admin/tenants", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["slug"], "acme");
    let again = rig.operate("POST", "/admin/tenants", &body).await;
    assert_eq!(again.status, 409, "{}", again.body);
    let key = rig.key("acme", &GRANTS).await;
    let (_, own) = rig.get("/tenant", &key).await;
    let states: Vec<_> = own["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| &h["state"])
        .collect();
    assert_eq!(states, ["pending", "pending"], "{own}");
    assert_eq!(own["tenant_id"], made.body["tenant_id"]);
    let body = json!({"slug": "globex", "owner": "Eve", "hosts": ["b.globex.example"]});
    let made = rig.operate("POST", "/tenants", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let proof = &made.body["hosts"][0]["proof"];
    assert_eq!(
        proof["record"], "_laneway.b.globex.example",
        "{}",
        made.body
    );
}
