//! Devices in bulk: lines in, lines out, at the same time.

use std::time::Duration;

use laneway_store::DeviceFilter;
use laneway_tenancy::{OperatorScope, TenantScope};
use laneway_testkit::Database;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::support::{Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    lines_are_answered_while_others_are_still_to_come,
    a_hundred_thousand_devices_are_registered_in_one_request,
    each_line_gets_its_outcome_and_tokens_work,
    the_plans_limit_ends_registration_and_is_said_by_line,
    a_body_of_another_kind_is_refused_as_a_whole,
);

const BOUND: Duration = Duration::from_secs(60);

/// A request whose body is still to be sent. HTTP/1.0, so that the answer is the lines alone.
struct Open {
    writer: OwnedWriteHalf,
    reader: BufReader<OwnedReadHalf>,
}

async fn open(rig: &Rig, query: &str, kind: &str, authorization: &str, length: usize) -> Open {
    let stream = TcpStream::connect(rig.address()).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /devices/bulk{query} HTTP/1.0\r\nhost: test\r\nauthorization: {authorization}\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    writer.write_all(head.as_bytes()).await.unwrap();
    Open {
        writer,
        reader: BufReader::new(reader),
    }
}

impl Open {
    /// The status; what follows are lines.
    async fn status(&mut self) -> u16 {
        let status = self.line().await.unwrap();
        while !self.line().await.unwrap().is_empty() {}
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(BOUND, self.reader.read_line(&mut line));
        let read = read.await.expect("nothing came").unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    async fn json(&mut self) -> Option<Value> {
        let line = self.line().await?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

/// All of a small body at once: the status, and the lines of the answer.
async fn send(
    rig: &Rig,
    query: &str,
    kind: &str,
    authorization: &str,
    body: &str,
) -> (u16, Vec<Value>) {
    let mut open = open(rig, query, kind, authorization, body.len()).await;
    open.writer.write_all(body.as_bytes()).await.unwrap();
    let status = open.status().await;
    let mut lines = Vec::new();
    if status == 200 {
        while let Some(line) = open.json().await {
            lines.push(line);
        }
    } else {
        let mut rest = String::new();
        open.reader.read_to_string(&mut rest).await.unwrap();
        lines.push(serde_json::from_str(&rest).unwrap());
    }
    (status, lines)
}

async fn scope(rig: &Rig, slug: &str) -> TenantScope {
    let key = rig.operator_key().await;
    let operator = OperatorScope::of(&rig.who(&key).await.unwrap()).unwrap();
    let tenant = rig.store.tenants(&operator).by_slug(slug).await.unwrap();
    operator.scope(tenant.unwrap().id)
}

async fn lines_are_answered_while_others_are_still_to_come(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let (first, second) = ("id\na\nb\n", "c\n");
    let length = first.len() + second.len();
    let mut open = open(&rig, "", "text/csv; charset=utf-8", &admin, length).await;
    open.writer.write_all(first.as_bytes()).await.unwrap();
    assert_eq!(open.status().await, 200);
    let created = |line: u64, id: &str| json!({"line": line, "id": id, "outcome": "created"});
    assert_eq!(open.json().await, Some(created(2, "a")));
    assert_eq!(open.json().await, Some(created(3, "b")));
    let progress = open.json().await.unwrap();
    assert_eq!(progress["progress"]["created"], 2);
    // They are there, though the request has not ended.
    let found = rig.ask("GET", "/devices/b", &admin, &Value::Null).await;
    assert_eq!(found.status, 200);
    open.writer.write_all(second.as_bytes()).await.unwrap();
    assert_eq!(open.json().await, Some(created(4, "c")));
    let mut last = Value::Null;
    while let Some(line) = open.json().await {
        last = line;
    }
    let expected = json!({"summary": {
        "lines": 3, "created": 3, "exists": 0, "invalid": 0, "limit_reached": 0, "complete": true,
    }});
    assert_eq!(last, expected);
}

async fn a_hundred_thousand_devices_are_registered_in_one_request(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    const LINES: usize = 100_000;
    let body: String = (0..LINES + 1)
        .map(|n| format!("{{\"id\":\"d{n:06}\",\"group\":\"g{}\"}}\n", n % 10))
        .collect();
    let mut open = open(&rig, "", "application/x-ndjson", &admin, body.len()).await;
    let mut writer = open.writer;
    let writing = tokio::spawn(async move {
        // It is not read to its end: there is a line too many.
        let _ = writer.write_all(body.as_bytes()).await;
        writer
    });
    let (reader, _writer) = (open.reader, writing);
    open = Open {
        writer: TcpStream::connect(rig.address())
            .await
            .unwrap()
            .into_split()
            .1,
        reader,
    };
    assert_eq!(open.status().await, 200);
    let (mut progress, mut last) = (0, Value::Null);
    while let Some(line) = open.json().await {
        progress += usize::from(line["progress"].is_object());
        last = line;
    }
    assert!(progress >= LINES / 1000, "{progress} times");
    let summary = &last["summary"];
    assert_eq!(
        (&summary["created"], &summary["complete"]),
        (&json!(LINES), &json!(false)),
        "{last}"
    );
    let why = summary["problem"]["detail"].as_str().unwrap();
    assert!(why.contains("more than 100000 lines"), "{why}");
    let scope = scope(&rig, "acme").await;
    let filter = DeviceFilter {
        group: Some("g7".into()),
        ..DeviceFilter::default()
    };
    let devices = rig.store.devices(&scope);
    let after = "d099900".parse().unwrap();
    let found = devices.select(&filter, Some(&after), 100).await.unwrap();
    assert_eq!(found.len(), 10);
    assert_eq!(found[9].since, 2 + 1 + LINES as i64 - 3);
}

async fn each_line_gets_its_outcome_and_tokens_work(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "old"}))
        .await;
    let body = "id,name,group,label.depot\n\
        new,\"Truck, red\",north,west\n\
        old,,,\n\
        new,,,\n\
        a b,,,\n\
        few\n\
        \n\
        other,,no group,\n";
    let (status, lines) = send(&rig, "?tokens=true", "text/csv", &admin, body).await;
    assert_eq!(status, 200);
    let outcomes: Vec<(u64, &str)> = lines
        .iter()
        .filter_map(|l| Some((l["line"].as_u64()?, l["outcome"].as_str()?)))
        .collect();
    let expected = [
        (2, "created"),
        (3, "exists"),
        (4, "exists"),
        (5, "invalid"),
        (6, "invalid"),
        (8, "invalid"),
    ];
    assert_eq!(outcomes, expected);
    assert!(lines[3]["why"].as_str().unwrap().starts_with("id: "));
    assert!(lines[5]["why"].as_str().unwrap().starts_with("group: "));
    let tokens = lines.iter().filter(|l| l["token"].is_string()).count();
    assert_eq!(tokens, 1, "only the new one has one");
    let caller = rig.who(&bearer(&lines[0]["token"])).await.unwrap();
    assert_eq!(caller.tenant.slug, "acme");
    let found = rig.ask("GET", "/devices/new", &admin, &Value::Null).await;
    assert_eq!(
        (
            &found.body["name"],
            &found.body["group"],
            &found.body["labels"]
        ),
        (
            &json!("Truck, red"),
            &json!("north"),
            &json!({"depot": "west"})
        )
    );
    let listed = rig
        .ask("GET", "/devices/new/credentials", &admin, &Value::Null)
        .await;
    assert_eq!(listed.body["items"][0]["id"], lines[0]["credential"]);
    // What control nodes and the others follow has them all, in their order.
    let scope = scope(&rig, "acme").await;
    rig.directory.wait_for(scope.tenant(), 4).await;
    assert!(rig.directory.device_known(scope.tenant(), "new", 4));
}

async fn the_plans_limit_ends_registration_and_is_said_by_line(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let set = rig
        .operate("PUT", "/tenants/acme/limits", &json!({"devices": 2}))
        .await;
    assert_eq!(set.status, 200, "{}", set.body);
    let body = "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n";
    let (_, lines) = send(&rig, "", "application/jsonl", &admin, body).await;
    let outcomes: Vec<&str> = lines.iter().filter_map(|l| l["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["created", "created", "limit-reached"]);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["limit_reached"], &summary["complete"]),
        (&json!(1), &json!(true))
    );
    let one = rig
        .ask("POST", "/devices", &admin, &json!({"id": "d"}))
        .await;
    let kind = &one.body["type"];
    assert_eq!(
        (one.status, kind),
        (403, &json!("https://laneway.dev/problems/limit-reached"))
    );
    assert!(
        one.body["detail"]
            .as_str()
            .unwrap()
            .contains("limits.devices")
    );
}

async fn a_body_of_another_kind_is_refused_as_a_whole(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    for (kind, body, expected) in [
        ("application/json", "{}", 415),
        ("text/csv", "name\na\n", 422),
        ("text/csv", "", 422),
    ] {
        let (status, lines) = send(&rig, "", kind, &admin, body).await;
        assert_eq!(status, expected, "{kind}: {lines:?}");
    }
    let reader = rig.key("acme", &["positions:read"]).await;
    let (status, _) = send(&rig, "", "text/csv", &reader, "id\na\n").await;
    assert_eq!(status, 403);
    // A device may be called so, and is then like any other.
    let made = rig
        .ask("POST", "/devices", &admin, &json!({"id": "bulk"}))
        .await;
    assert_eq!(made.status, 201);
    let found = rig.ask("GET", "/devices/bulk", &admin, &Value::Null).await;
    assert_eq!(found.status, 200);
    let posted = rig.ask("POST", "/devices/truck", &admin, &json!({})).await;
    assert_eq!(posted.status, 405);
}
