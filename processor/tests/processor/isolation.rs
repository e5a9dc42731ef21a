//! What isolation refuses goes to quarantine whole, and what is news to the processor is waited
//! for, not refused.

use laneway_log::{Records, Topic};
use laneway_schemas::{Quarantined, SessionAction};

use crate::support::{PARTITIONS, Read, START, World, fix, session, tenant};

async fn quarantined(world: &World, count: usize) -> Vec<(Read, Quarantined)> {
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::Quarantine).await;
    follower
        .until("quarantine", &mut read, |r| r.len() >= count)
        .await;
    read.into_iter()
        .map(|r| (r.clone(), world.codecs.decode(&r.value).unwrap()))
        .collect()
}

#[tokio::test]
async fn each_refusal_is_quarantined_whole_and_what_is_good_passes() {
    let mut world = World::new().await;
    let (mine, other) = (tenant(1), tenant(2));
    world.add_tenant(mine, &[1]);
    world.add_device(mine, "truck");
    let version = world.add_device(mine, "sold");
    world.add_tenant(other, &[1]);
    world.add_device(other, "truck");
    world.remove_device(mine, "sold");

    let mut records = Records::new();
    let good = fix(mine, "truck", "good", START, version);
    let push = |records: &mut Records, key: &str, value: &[u8]| {
        records.push(
            Topic::LocationUpdates,
            1,
            7,
            key.as_bytes(),
            [("h", b"1".as_slice())],
            value,
        );
    };
    let encode = |fix: &laneway_schemas::LocationUpdate| {
        let mut value = Vec::new();
        world.codecs.encode(fix, &mut value).unwrap();
        value
    };
    let key = |id: laneway_tenancy::TenantId, device: &str| format!("{id}/{device}");
    let value = encode(&good);
    push(&mut records, &key(mine, "truck"), b"not avro");
    push(&mut records, &key(mine, "truck"), &[0, 0, 0, 0, 200, 1]);
    push(&mut records, &key(mine, "truck"), &value[..value.len() - 3]);
    push(&mut records, "nobody", &value);
    push(
        &mut records,
        &format!("{mine}/a/b"),
        &encode(&fix(mine, "a/b", "f", START, version)),
    );
    push(&mut records, &key(other, "truck"), &value);
    push(&mut records, &key(mine, "truck-2"), &value);
    push(
        &mut records,
        &key(tenant(3), "truck"),
        &encode(&fix(tenant(3), "truck", "f", START, 0)),
    );
    push(
        &mut records,
        &key(mine, "stolen"),
        &encode(&fix(mine, "stolen", "f", START, version)),
    );
    push(
        &mut records,
        &key(mine, "sold"),
        &encode(&fix(mine, "sold", "f", START, version + 1)),
    );
    let mut large = good.clone();
    large.attributes.insert("a".into(), "x".repeat(64_900));
    push(&mut records, &key(mine, "truck"), &encode(&large));
    world.push_fix(
        &mut records,
        1,
        &fix(mine, "sold", "before it was sold", START, version),
    );
    world.push_fix(&mut records, 1, &good);
    world.push_session(
        &mut records,
        1,
        &session(mine, "lost", "s", SessionAction::Start, START, version),
    );
    world.push_fix(&mut records, 2, &good);
    let inputs = records.len();
    world.log.append(records).await.unwrap();

    let running = world.start("a");
    assert!(
        running.health.check().is_err(),
        "it is healthy before it has joined"
    );
    let health = running.health.clone();
    let refused = quarantined(&world, inputs - 2).await;
    let mut reasons: Vec<(u32, &str)> = refused
        .iter()
        .map(|(r, q)| (r.partition, q.reason.as_str()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            (1, "bad-key"),
            (1, "bad-key"),
            (1, "device-mismatch"),
            (1, "tenant-mismatch"),
            (1, "too-large"),
            (1, "undecodable"),
            (1, "undecodable"),
            (1, "undecodable"),
            (1, "unknown-device"),
            (1, "unknown-device"),
            (1, "unknown-device"),
            (1, "unknown-tenant"),
            (2, "lane-not-allowed"),
        ]
    );
    let (record, whole) = refused
        .iter()
        .find(|(_, q)| q.reason == "tenant-mismatch")
        .unwrap();
    assert_eq!(record.key, key(other, "truck"));
    assert_eq!(whole.key.as_slice(), key(other, "truck").as_bytes());
    assert_eq!(whole.value.as_ref().unwrap().as_slice(), value);
    assert_eq!(whole.headers["h"].as_slice(), b"1");
    assert_eq!(
        (whole.topic.as_str(), whole.partition, whole.refused_at),
        ("location-updates", 1, START)
    );

    let mut passed = Vec::new();
    world
        .follow(Topic::TenantStreams)
        .await
        .until("what is good", &mut passed, |r| r.len() >= 2)
        .await;
    assert!(
        passed
            .iter()
            .all(|r| r.header("ce_type") == "laneway.position"),
        "{passed:?}"
    );
    assert_eq!(
        passed[0].header("ce_source"),
        format!("/tenants/{mine}/devices/sold")
    );
    assert_eq!(health.check(), Ok(()));
    running.drain().await;
    assert!(
        health.check().is_err(),
        "it is healthy after it has stopped"
    );
}

#[tokio::test]
async fn topics_of_a_tenants_own_are_processed_apart_and_hold_nobody_elses_records() {
    let own = PARTITIONS + 1;
    let mut world = World::new().await;
    let (mine, other) = (tenant(1), tenant(2));
    world.add_tenant(mine, &[own]);
    let version = world.add_device(mine, "truck");
    world.add_tenant(other, &[1]);
    let others = world.add_device(other, "truck");
    let mut records = Records::new();
    for lane in [1, own] {
        world.push_fix(&mut records, lane, &fix(mine, "truck", "a", START, version));
        world.push_fix(&mut records, lane, &fix(other, "truck", "b", START, others));
    }
    world.log.append(records).await.unwrap();

    let running = [world.start_in(0, "a"), world.start_in(1, "a")];
    let refused = quarantined(&world, 2).await;
    let mut refused: Vec<_> = refused
        .iter()
        .map(|(r, q)| (r.partition, r.key.clone(), q.reason.as_str()))
        .collect();
    refused.sort();
    assert_eq!(
        refused,
        [
            (1, format!("{mine}/truck"), "lane-not-allowed"),
            (own, format!("{other}/truck"), "lane-not-allowed"),
        ]
    );
    let mut passed = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("what is good", &mut passed, |r| r.len() >= 2)
        .await;
    let mut passed: Vec<_> = passed.iter().map(|r| (r.partition, &*r.key)).collect();
    passed.sort_unstable();
    let keys = [format!("{other}/truck"), format!("{mine}/truck")];
    assert_eq!(passed, [(1, &*keys[0]), (own, &*keys[1])]);
    for running in running {
        running.drain().await;
    }
}

#[tokio::test]
async fn an_event_accepted_under_news_that_has_not_arrived_waits_and_others_do_not() {
    let mut world = World::new().await;
    let (late, prompt) = (tenant(1), tenant(2));
    let version = world.add_tenant(late, &[0]);
    world.add_tenant(prompt, &[1]);
    let known = world.add_device(prompt, "truck");

    let running = world.start("a");
    world
        .append_fix(0, &fix(late, "new", "first", START, version + 1))
        .await;
    world
        .append_fix(0, &fix(late, "new", "second", START + 1, version + 1))
        .await;
    world
        .append_fix(1, &fix(prompt, "truck", "other", START, known))
        .await;

    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("the other tenant's fix", &mut read, |r| !r.is_empty())
        .await;
    assert_eq!(read[0].partition, 1);
    assert_eq!(world.add_device(late, "new"), version + 1);
    follower
        .until("the fixes that waited", &mut read, |r| r.len() >= 3)
        .await;
    assert!(
        read[1..].iter().all(|r| r.key == format!("{late}/new")),
        "{read:?}"
    );
    running.drain().await;
    assert_eq!(world.log.bounds(Topic::Quarantine, 0).await.unwrap().end, 0);
}

#[tokio::test]
async fn a_wait_for_news_holds_up_neither_a_drain_nor_what_was_done_before() {
    let mut world = World::new().await;
    let id = tenant(1);
    world.add_tenant(id, &[0]);
    let version = world.add_device(id, "truck");
    let mut records = Records::new();
    world.push_fix(&mut records, 0, &fix(id, "truck", "done", START, version));
    world.push_fix(
        &mut records,
        0,
        &fix(id, "truck", "waits", START + 1, version + 1),
    );
    world.log.append(records).await.unwrap();

    let running = world.start("a");
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("what needs no news", &mut read, |r| !r.is_empty())
        .await;
    running.drain().await;
    let committed = world
        .log
        .committed(laneway_processor::GROUP, Topic::LocationUpdates)
        .await
        .unwrap();
    assert_eq!(committed[0], Some(1));

    world.add_device(id, "another");
    let running = world.start("a");
    follower
        .until("what waited", &mut read, |r| r.len() >= 2)
        .await;
    running.drain().await;
}
