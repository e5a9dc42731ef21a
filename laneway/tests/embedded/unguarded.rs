//! A start without authentication: everything without credentials, from this machine alone.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::Laneway;
use super::ask::wait_for;

/// Status and JSON of the answer to a request without credentials.
fn ask(laneway: &Laneway, request: &str, headers: &[&str], body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", laneway.port)).unwrap();
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let mut head = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("host:")) {
        head.push_str(&format!("host: 127.0.0.1:{}\r\n", laneway.port));
    }
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    let length = body.len();
    write!(
        stream,
        "{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn fix() -> Value {
    json!({"device_id": "truck", "recorded_at": "2026-01-01T12:00:00Z", "lat": 52.5, "lon": 13.4})
}

/// What is asked for in this test, of each role that answers, and what it says to one who may.
const ASKED: [(&str, u16); 3] = [
    ("GET /devices/truck/position", 200),
    ("POST /location/update", 200),
    ("GET /stream", 426),
];

#[test]
fn without_authentication_all_is_done_without_credentials_and_with_it_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("laneway.toml");
    std::fs::write(&configuration, "[auth]\nmode = \"none\"\n").unwrap();
    let mut laneway = Laneway::new(folder.path());
    laneway.start();
    assert!(laneway.log().contains("AUTHENTICATION IS OFF"));

    // Until the namespace is made, it is 503.
    let truck = json!({"id": "truck"});
    let register = || ask(&laneway, "POST /devices", &[], &truck).0;
    wait_for("the device to be registered", || register() == 201);
    let send = || ask(&laneway, "POST /location/update", &[], &fix());
    wait_for("the device to be known", || send().1["accepted"] == 1);
    let position = || ask(&laneway, "GET /devices/truck/position", &[], &Value::Null);
    wait_for("the position", || position().0 == 200);
    assert_eq!(position().1["device_id"], "truck");

    let url = laneway.url();
    let tail = [
        "--from",
        "earliest",
        "--types",
        "laneway.position",
        "--count",
        "1",
    ];
    let line = laneway.out(&[&["tail", "--url", &url], &tail[..]].concat());
    assert!(line.contains("  truck  "), "{line}");
    let track = "lat,lon,time\n52.6,13.4,2026-01-01T12:01:00Z\n";
    std::fs::write(folder.path().join("track.csv"), track).unwrap();
    let sent = laneway.out(&["send", "track.csv", "--url", &url, "--device", "truck"]);
    assert!(sent.starts_with("1 accepted, 0 refused"), "{sent}");
    let listed = [
        "admin", "--json", "--url", &url, "device", "list", "--tenant", "default",
    ];
    assert!(laneway.out(&listed).contains("truck"));
    let tenant = laneway.run(&["admin", "tenant", "create", "acme"]);
    assert!(String::from_utf8_lossy(&tenant.stderr).contains("Authentication is off"));

    for (request, status) in ASKED {
        let body = fix();
        let own = format!("origin: {url}");
        assert_eq!(
            ask(&laneway, request, &[&own], &body).0,
            status,
            "{request}"
        );
        let (status, refused) = ask(&laneway, request, &["origin: https://evil.example"], &body);
        let kind = "https://laneway.dev/problems/origin-not-allowed";
        assert_eq!((status, &refused["type"]), (403, &json!(kind)), "{request}");
        let rebound = ["host: evil.example", "origin: http://evil.example"];
        assert_eq!(ask(&laneway, request, &rebound, &body).0, 404, "{request}");
    }
    laneway.stop();

    std::fs::remove_file(&configuration).unwrap();
    laneway.start();
    for (request, _) in ASKED {
        assert_eq!(ask(&laneway, request, &[], &fix()).0, 401, "{request}");
    }
    laneway.admin(&["tenant", "create", "acme"]);
    laneway.stop();

    // What belongs to somebody is never opened to everybody.
    std::fs::write(&configuration, "[auth]\nmode = \"none\"\n").unwrap();
    let refused = laneway.run(&["all"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("1 of them"),
        "{said}"
    );
}

#[test]
fn without_authentication_a_listener_that_others_reach_is_refused_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let laneway = Laneway::new(folder.path());
    for command in [&["all"][..], &["config", "check"]] {
        let mut command = laneway.command(command);
        command.env("LANEWAY_AUTH_MODE", "none");
        command.env("LANEWAY_HTTP_LISTEN", format!("0.0.0.0:{}", laneway.port));
        let refused = command.output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        for key in ["http.listen", "auth.mode", "auth.none_beyond_loopback"] {
            assert!(said.contains(key), "{key}: {said}");
        }
    }
}
