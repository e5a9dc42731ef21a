//! What the API says of deliveries, as the sinks have written it, and asks of them.

use std::time::Duration;

use laneway_log::{Records, Topic};
use laneway_runtime::{Clock, SystemClock};
use laneway_schemas::sink::{DeadLetter, cursor_key, dead_letter_key, health_key, redrive_key};
use laneway_schemas::{DestinationHealth, DestinationRedrive, SinkCursor};
use laneway_testkit::Database;
use laneway_testkit::wait::{eventually, until};
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    dead_letters_are_listed_in_pages_and_redriven_by_their_tenant_alone,
    the_status_of_a_destination_is_what_the_sinks_say_of_it,
);

const BOUND: Duration = Duration::from_secs(60);

struct Destination {
    tenant: String,
    id: String,
    lane: u32,
}

impl Destination {
    async fn create(rig: &Rig, slug: &str, key: &str) -> Destination {
        let body = json!({"kind": "webhook", "url": "https://example.com/hook"});
        let made = rig.ask("POST", "/destinations", key, &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let path = format!("/tenants/{slug}");
        let tenant = rig.operate("GET", &path, &Value::Null).await.body;
        let lane = tenant["lanes"][0].as_u64().unwrap();
        Destination {
            tenant: tenant["id"].as_str().unwrap().to_owned(),
            id: made.body["id"].as_str().unwrap().to_owned(),
            lane: u32::try_from(lane).unwrap(),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/destinations/{}{rest}", self.id)
    }

    fn cursor(&self, offset: i64) -> SinkCursor {
        SinkCursor {
            tenant_id: self.tenant.clone(),
            destination_id: self.id.clone(),
            generation: 1,
            lane: i32::try_from(self.lane).unwrap(),
            offset,
            open: Vec::new(),
            riding: false,
            dead: None,
            delivered: 0,
        }
    }

    /// As a sink does that keeps being refused.
    async fn park(&self, rig: &Rig, event: &str, parked_at: i64) {
        let letter = DeadLetter {
            event_id: event.to_owned(),
            device: "truck".to_owned(),
            reason: "answered 400 Bad Request".to_owned(),
            attempts: 8,
            parked_at,
        };
        let record = SinkCursor {
            dead: Some(serde_json::to_string(&letter).unwrap()),
            ..self.cursor(7)
        };
        let key = dead_letter_key(&self.tenant, &self.id, event);
        self.write(rig, &key, &record).await;
    }

    async fn write(&self, rig: &Rig, key: &str, record: &SinkCursor) {
        let mut value = Vec::new();
        rig.codecs.encode(record, &mut value).unwrap();
        let mut records = Records::new();
        let key = key.as_bytes();
        records.push(Topic::SinkCursors, self.lane, 1, key, [], &value);
        rig.log.append(records).await.unwrap();
    }
}

/// The request under a key of `sink-signals`.
async fn asked(rig: &Rig, key: &str) -> Option<DestinationRedrive> {
    let bounds = rig.log.bounds(Topic::SinkSignals, 0).await.unwrap();
    let from = vec![(0, bounds.earliest)];
    let mut reader = rig.log.reader(Topic::SinkSignals, from).await.unwrap();
    let mut found = None;
    let mut next = bounds.earliest;
    while next < bounds.last_stable {
        let batch = reader.next().await.unwrap();
        for record in batch.iter().filter(|r| r.key == key.as_bytes()) {
            found = Some(rig.codecs.decode(record.value.unwrap()).unwrap());
        }
        next = batch.next_offset();
    }
    found
}

async fn dead_letters_are_listed_in_pages_and_redriven_by_their_tenant_alone(database: Database) {
    let rig = rig(database).await;
    let mine = rig.tenant("mine", &["tenant:admin"]).await;
    let theirs = rig.tenant("theirs", &["tenant:admin"]).await;
    let destination = Destination::create(&rig, "mine", &mine).await;
    let foreign = Destination::create(&rig, "theirs", &theirs).await;
    for event in ["a.1", "b.1", "c.2"] {
        destination.park(&rig, event, 1_700_000_000_000_000).await;
    }
    foreign.park(&rig, "x.1", 1).await;
    let list = destination.path("/dead-letters");
    until("the dead letters to be known", BOUND, || async {
        let answer = rig.ask("GET", &list, &mine, &Value::Null).await;
        answer.body["items"]
            .as_array()
            .is_some_and(|i| i.len() == 3)
    })
    .await
    .unwrap();
    let path = format!("{list}?limit=2");
    let first = rig.ask("GET", &path, &mine, &Value::Null).await.body;
    assert_eq!(first["items"][0]["event_id"], "a.1");
    assert_eq!(first["items"][0]["device"], "truck");
    assert_eq!(first["items"][0]["reason"], "answered 400 Bad Request");
    assert_eq!(first["items"][0]["attempts"], 8);
    assert_eq!(first["items"][0]["parked_at"], "2023-11-14T22:13:20Z");
    assert_eq!(first["next"], "b.1");
    let path = format!("{list}?limit=2&after=b.1");
    let rest = rig.ask("GET", &path, &mine, &Value::Null).await.body;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["items"][0]["event_id"], "c.2");

    // Another tenant's destination is as good as none, and so is another's dead letter.
    let none = "/destinations/dst_00000000000000000000000001";
    for path in [&foreign.path(""), none] {
        for rest in ["/dead-letters", "/status"] {
            let path = format!("{path}{rest}");
            let answer = rig.ask("GET", &path, &mine, &Value::Null).await;
            assert_eq!(answer.status, 404, "{path}");
        }
        let path = format!("{path}/dead-letters/redrive");
        let answer = rig.ask("POST", &path, &mine, &json!({"all": true})).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let redrive = destination.path("/dead-letters/redrive");
    for (body, status) in [
        (json!({}), 422),
        (json!({"all": true, "events": ["a.1"]}), 422),
        (json!({"events": ["a.1", "x.1"]}), 404),
        (json!({"events": ["nothing"]}), 404),
    ] {
        let answer = rig.ask("POST", &redrive, &mine, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let key = |event| redrive_key(&destination.tenant, &destination.id, event);
    assert_eq!(asked(&rig, &key(Some("a.1"))).await, None, "all or nothing");

    let answer = rig
        .ask("POST", &redrive, &mine, &json!({"events": ["a.1"]}))
        .await;
    assert_eq!((answer.status, &answer.body["redriving"]), (202, &json!(1)));
    let request = asked(&rig, &key(Some("a.1"))).await.unwrap();
    assert_eq!(request.lane, i32::try_from(destination.lane).ok());
    assert!(request.requested_at >= 1_700_000_000_000_000);
    assert_eq!(asked(&rig, &key(None)).await, None);
    let path = format!("/tenants/mine{redrive}");
    let answer = rig.operate("POST", &path, &json!({"all": true})).await;
    assert_eq!(answer.body["redriving"], 3);
    let request = asked(&rig, &key(None)).await.unwrap();
    assert_eq!((request.event_id, request.lane), (None, None));
    let theirs = redrive_key(&foreign.tenant, &foreign.id, None);
    assert_eq!(asked(&rig, &theirs).await, None);
}

async fn the_status_of_a_destination_is_what_the_sinks_say_of_it(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["tenant:admin"]).await;
    let destination = Destination::create(&rig, "acme", &key).await;
    let path = destination.path("/status");
    let fresh = eventually("the status to be known", BOUND, || async {
        let answer = rig.ask("GET", &path, &key, &Value::Null).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await
    .unwrap();
    let nothing =
        json!({"state": "active", "breaker": "closed", "lag": 0, "waiting": 0, "dead_letters": 0});
    assert_eq!(fresh, nothing);

    // Ten events in its lane, of which it has been through five but one.
    let (lane, tenant) = (destination.lane, &destination.tenant);
    let first_ms = SystemClock.now_ms() - 100_000;
    let mut records = Records::new();
    for n in 0..10 {
        let key = format!("{tenant}/truck");
        let at_ms = first_ms + n * 1000;
        records.push(Topic::TenantStreams, lane, at_ms, key.as_bytes(), [], b"x");
    }
    rig.log.append(records).await.unwrap();
    let cursor = SinkCursor {
        open: vec![2],
        ..destination.cursor(5)
    };
    let cursor_key = cursor_key(tenant, &destination.id, lane);
    destination.write(&rig, &cursor_key, &cursor).await;
    destination.park(&rig, "a.1", 5).await;
    let health = DestinationHealth {
        tenant_id: tenant.clone(),
        destination_id: destination.id.clone(),
        open: true,
        until: 4_000_000_000_000_000,
        opened: 1,
        error: Some("answered 500 Internal Server Error".to_owned()),
        failed_at: Some(1_700_000_000_000_000),
        instance: "sink-1".to_owned(),
    };
    let mut value = Vec::new();
    rig.codecs.encode(&health, &mut value).unwrap();
    let mut records = Records::new();
    let health_key = health_key(tenant, &destination.id);
    records.push(Topic::SinkSignals, 0, 1, health_key.as_bytes(), [], &value);
    rig.log.append(records).await.unwrap();

    let mut status = eventually("the status to have changed", BOUND, || async {
        let answer = rig.ask("GET", &path, &key, &Value::Null).await;
        let known = answer.body["breaker"] == "open" && answer.body["dead_letters"] == 1;
        (known && answer.body["waiting"] == 1).then_some(answer.body)
    })
    .await
    .unwrap();
    let age = status["oldest_undelivered_seconds"].take();
    assert!((98..200).contains(&age.as_i64().unwrap()), "{age}");
    let oldest = jiff::Timestamp::from_millisecond(first_ms + 2000).unwrap();
    let expected = json!({
        "state": "active",
        "breaker": "open",
        "next_attempt_at": "2096-10-02T07:06:40Z",
        "last_error": "answered 500 Internal Server Error",
        "last_error_at": "2023-11-14T22:13:20Z",
        "lag": 6,
        "waiting": 1,
        "oldest_undelivered_at": oldest.to_string(),
        "oldest_undelivered_seconds": null,
        "dead_letters": 1,
    });
    assert_eq!(status, expected);
}
