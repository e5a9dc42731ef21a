//! Tenants named by host and by path, under every role of one process.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Laneway;

/// Status and kind of problem of the answer.
fn ask(laneway: &Laneway, host: &str, request: &str, key: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", laneway.port)).unwrap();
    let authorization = if key.is_empty() {
        String::new()
    } else {
        format!("authorization: Bearer {key}\r\n")
    };
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: other.tenants.example\r\n\
         {authorization}connection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let kind = body["type"].as_str().unwrap_or_default();
    (
        status,
        kind.rsplit('/').next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn every_role_holds_names_against_credentials() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("laneway.toml"),
        "[hosts]\nsite_domain = \"laneway.example\"\ntenant_domain = \"tenants.example\"\n",
    )
    .unwrap();
    let mut laneway = Laneway::new(folder.path());
    laneway.start();
    let mut keys = Vec::new();
    for tenant in ["acme", "other"] {
        laneway.admin(&["tenant", "create", tenant]);
        let scopes = "devices:read,location:write,stream:read";
        let key = ["key", "create", "--tenant", tenant, "--scope", scopes];
        let key = laneway.admin(&key)["key"].as_str().unwrap().to_owned();
        keys.push(key);
    }
    let key = &keys[0];
    // Control, ingest and the sink; what each says to one who may.
    for (request, path, status) in [
        ("GET", "/devices", 200),
        ("POST", "/location/update", 400),
        ("GET", "/stream", 426),
    ] {
        let there = || {
            ask(
                &laneway,
                "acme.tenants.example",
                &format!("{request} {path}"),
                key,
            )
        };
        super::ask::wait_for("the tenant's name to be known", || there().0 == status);
        for (host, prefix) in [("laneway.example", ""), ("laneway.example", "/t/acme")] {
            let own = ask(&laneway, host, &format!("{request} {prefix}{path}"), key);
            assert_eq!(own.0, status, "{host} {prefix}{path}");
        }
        for (host, prefix) in [
            ("other.tenants.example", ""),
            ("nobody.tenants.example", ""),
            ("nobodys.example", ""),
            ("laneway.example", "/t/other"),
            ("laneway.example", "/t/nobody"),
            ("acme.tenants.example", "/t/other"),
        ] {
            let refused = ask(&laneway, host, &format!("{request} {prefix}{path}"), key);
            let mismatch = (403, "tenant-mismatch".to_owned());
            assert_eq!(refused, mismatch, "{host} {prefix}{path}");
        }
        let nobody = ask(
            &laneway,
            "nobodys.example",
            &format!("{request} {path}"),
            "",
        );
        assert_eq!(nobody, (404, "tenant-not-found".to_owned()), "{path}");
    }
    let of = ["--tenant", "acme", "*.fleet.acme.example"];
    let made = laneway.admin(&[&["host", "create"], &of[..]].concat());
    assert_eq!(made["proof"]["record"], "_laneway.fleet.acme.example");
    let listed = laneway.admin(&["host", "list", "--tenant", "acme"]);
    assert_eq!(listed[0]["state"], "pending", "{listed}");
    laneway.out(&[&["admin", "host", "delete"], &of[..]].concat());
    let health = ask(&laneway, "nobodys.example", "GET /health/ready", "");
    assert_eq!(health.0, 200);
    laneway.stop();
}
