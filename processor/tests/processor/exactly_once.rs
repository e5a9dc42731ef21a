//! Exactly once, whatever happens to the processors: members are killed in the middle of their
//! units, join, leave and come back, and every event is in the stream once, with the last
//! revisions that an offline recomputation gives.

use std::collections::{BTreeMap, BTreeSet};

use laneway_log::{Records, Topic, group_lag};
use laneway_processor::GROUP;
use laneway_schemas::{Position, SessionAction, SessionStopped, SessionUpdated, Window};
use laneway_tenancy::TenantId;

use crate::model;
use crate::support::{self, PARTITIONS, Read, Running, SECOND, START, World, fix, session, tenant};

const DEVICES: u32 = 12;
const ROUNDS: i64 = 40;

/// A permutation that looks like none, without chance.
fn scatter(n: i64, modulus: i64) -> i64 {
    (n * 7919 + 13) % modulus
}

/// The fixes of a device: mostly in order, some late by a minute, all within some minutes.
fn device_fix(
    id: laneway_tenancy::TenantId,
    device: u32,
    n: i64,
    version: i64,
) -> laneway_schemas::LocationUpdate {
    let at = START + n * 7 * SECOND - if n % 5 == 3 { 61 * SECOND } else { 0 };
    let mut fix = fix(id, &format!("d-{device}"), &format!("f-{n}"), at, version);
    fix.received_at = START + n * 7 * SECOND;
    fix.latitude += scatter(n + i64::from(device), 1000) as f64 / 1e4;
    fix.longitude += n as f64 / 1e3;
    fix.speed_mps = (n % 3 == 0).then_some(n as f64 / 2.0);
    fix.session_id = Some("trip".into());
    fix
}

async fn all_done(world: &World) {
    let caught_up = async {
        loop {
            let mut lag = 0;
            for topic in [Topic::LocationUpdates, Topic::SessionEvents] {
                lag += group_lag(&*world.log, GROUP, topic)
                    .await
                    .unwrap()
                    .iter()
                    .map(|l| l.lag)
                    .sum::<u64>();
            }
            if lag == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, caught_up)
        .await
        .expect("the group catches up");
}

/// Where in the run a processor is killed or drained, and another one started.
async fn disturb(world: &World, running: &mut Vec<Running>, round: i64) {
    match round % 5 {
        1 => running.push(world.start(&format!("p-{}", round % 10))),
        2 if running.len() > 1 => running.remove(0).kill().await,
        3 if running.len() > 1 => running.remove(0).drain().await,
        4 => {
            let last = running.pop().expect("one is running");
            last.kill().await;
            running.push(world.start(&format!("q-{round}")));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_joins_and_leaves_neither_lose_nor_repeat_nor_change_a_total() {
    let mut world = World::new().await;
    world.settings.max_unit_records = 7;
    let id = tenant(1);
    let lanes: Vec<u32> = (0..PARTITIONS).collect();
    world.add_tenant(id, &lanes);
    let mut version = 0;
    for device in 0..DEVICES {
        version = world.add_device(id, &format!("d-{device}"));
    }
    let mut running = vec![world.start("p-0")];
    for round in 0..ROUNDS {
        let mut records = Records::new();
        for device in 0..DEVICES {
            let lane = device % PARTITIONS;
            let name = format!("d-{device}");
            for n in round * 3..round * 3 + 3 {
                world.push_fix(&mut records, lane, &device_fix(id, device, n, version));
            }
            // Sent again, as a device does that missed the answer.
            world.push_fix(
                &mut records,
                lane,
                &device_fix(id, device, round * 2, version),
            );
            if round == i64::from(device) {
                let start = session(
                    id,
                    &name,
                    "trip",
                    SessionAction::Start,
                    START - 100 * SECOND,
                    version,
                );
                world.push_session(&mut records, lane, &start);
            }
            if round == 20 && device % 2 == 0 {
                let stop = session(
                    id,
                    &name,
                    "trip",
                    SessionAction::Stop,
                    START + 500 * SECOND,
                    version,
                );
                world.push_session(&mut records, lane, &stop);
            }
        }
        world.log.append(records).await.unwrap();
        disturb(&world, &mut running, round).await;
    }
    all_done(&world).await;

    let fixes: i64 = ROUNDS * 3;
    world.clock.set(START + 100_000 * SECOND);
    let mut expected_windows = BTreeMap::new();
    let mut expected_sessions = BTreeMap::new();
    for device in 0..DEVICES {
        let all: Vec<model::Fix> = (0..fixes)
            .map(|n| {
                let f = device_fix(id, device, n, version);
                model::Fix {
                    id: f.fix_id,
                    at: f.recorded_at,
                    latitude: f.latitude,
                    longitude: f.longitude,
                    speed: f.speed_mps,
                    session: f.session_id,
                }
            })
            .collect();
        for (start, window) in model::windows(&all) {
            expected_windows.insert((format!("d-{device}"), start), window);
        }
        let times = model::SessionTimes {
            id: "trip".into(),
            started_at: Some(START - 100 * SECOND),
            stopped_at: (device % 2 == 0).then_some(START + 500 * SECOND),
        };
        expected_sessions.extend(
            model::sessions(&all, &[times])
                .into_values()
                .map(|s| (format!("d-{device}"), (s.fixes, s.distance_m))),
        );
    }
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    let (windows, sessions) = (expected_windows.len(), expected_sessions.len());
    follower
        .until("the last idle closes", &mut read, |r| {
            let said = last_words(&world, r);
            said.windows == expected_windows && said.sessions == expected_sessions
        })
        .await;
    assert!(windows > 100 && sessions == DEVICES as usize);

    let ids: Vec<&str> = read.iter().map(|r| r.header("ce_id")).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "an event was written twice");
    let positions = read
        .iter()
        .filter(|r| r.header("ce_type") == "laneway.position")
        .count();
    assert_eq!(positions as i64, fixes * i64::from(DEVICES));
    for running in running {
        running.drain().await;
    }
}

#[derive(Default)]
struct LastWords {
    windows: BTreeMap<(String, i64), model::Window>,
    sessions: BTreeMap<String, (u64, f64)>,
}

/// The last revisions in the stream, revisions checked to grow.
fn last_words(world: &World, read: &[Read]) -> LastWords {
    let mut words = LastWords::default();
    let mut revisions: BTreeMap<String, i32> = BTreeMap::new();
    let mut grows = |entity: String, revision: i32| {
        let before = revisions.insert(entity.clone(), revision);
        assert!(
            before.is_none_or(|b| b < revision),
            "{entity}: {revision} after {before:?}"
        );
    };
    for record in read {
        match record.header("ce_type") {
            "laneway.window" => {
                let w: Window = world.codecs.decode(&record.value).unwrap();
                grows(w.entity_id, w.revision);
                let window = model::Window {
                    fixes: u64::try_from(w.fixes).unwrap(),
                    distance_m: w.distance_m,
                    max_speed_mps: w.max_speed_mps,
                };
                words.windows.insert((w.device_id, w.window_start), window);
            }
            "laneway.session.updated" => {
                let s: SessionUpdated = world.codecs.decode(&record.value).unwrap();
                grows(s.entity_id, s.revision);
                words
                    .sessions
                    .insert(s.device_id, (u64::try_from(s.fixes).unwrap(), s.distance_m));
            }
            "laneway.session.stopped" => {
                let s: SessionStopped = world.codecs.decode(&record.value).unwrap();
                grows(s.entity_id, s.revision);
                words
                    .sessions
                    .insert(s.device_id, (u64::try_from(s.fixes).unwrap(), s.distance_m));
            }
            _ => {}
        }
    }
    words
}

#[tokio::test]
async fn an_idle_window_is_closed_by_a_tick_also_after_a_restart_and_only_once() {
    let mut world = World::new().await;
    let id = tenant(1);
    world.add_tenant(id, &[2]);
    let version = world.add_device(id, "truck");
    let running = world.start("a");
    world
        .append_fix(2, &fix(id, "truck", "f-1", START + SECOND, version))
        .await;
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("the position", &mut read, |r| !r.is_empty())
        .await;
    running.drain().await;

    world.clock.set(START + 3600 * SECOND);
    let running = world.start("a");
    follower
        .until("the idle window", &mut read, |r| r.len() >= 2)
        .await;
    assert_eq!(read[1].header("ce_type"), "laneway.window");
    assert_eq!(read[1].header("ce_time"), "2025-11-21T02:01:00.000000Z");
    running.drain().await;

    let running = world.start("b");
    world
        .append_fix(2, &fix(id, "truck", "f-2", START + 120 * SECOND, version))
        .await;
    follower
        .until("the next position", &mut read, |r| r.len() >= 3)
        .await;
    let position: Position = world.codecs.decode(&read[2].value).unwrap();
    assert!(position.latest && position.fix_id == "f-2");
    running.drain().await;
}

#[tokio::test]
async fn of_a_tenant_that_is_being_closed_no_idle_window_is_said_and_no_state_is_kept() {
    let mut world = World::new().await;
    let (closing, stays) = (tenant(1), tenant(2));
    let mut versions = Vec::new();
    for id in [closing, stays] {
        world.add_tenant(id, &[2]);
        versions.push((id, world.add_device(id, "truck")));
    }
    let running = world.start("a");
    for (id, version) in versions {
        let fix = fix(id, "truck", "f-1", START + SECOND, version);
        world.append_fix(2, &fix).await;
    }
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("the positions", &mut read, |r| r.len() >= 2)
        .await;
    let mut states = world.follow(Topic::ProcessorState).await;
    let mut kept = Vec::new();
    let is_of = |r: &Read, id: TenantId| r.key.starts_with(&format!("{id}/"));
    states
        .until("the states", &mut kept, |r| {
            [closing, stays]
                .iter()
                .all(|id| r.iter().any(|r| is_of(r, *id)))
        })
        .await;
    let before = kept.len();

    world.close_tenant(closing);
    world.clock.set(START + 3600 * SECOND);
    follower
        .until("the idle window of the other", &mut read, |r| r.len() >= 3)
        .await;
    running.drain().await;
    states
        .until("its state", &mut kept, |r| {
            r[before..].iter().any(|r| is_of(r, stays))
        })
        .await;
    assert!(is_of(&read[2], stays) && read.len() == 3, "{read:?}");
    assert!(!kept[before..].iter().any(|r| is_of(r, closing)));
}

#[tokio::test]
async fn what_a_device_sends_again_is_dropped_though_forgotten_as_points_also_after_a_restart() {
    const FIXES: usize = 600;
    let mut world = World::new().await;
    world.settings.max_points = 64;
    let id = tenant(1);
    world.add_tenant(id, &[0]);
    let version = world.add_device(id, "truck");
    for round in ["first", "again"] {
        let mut records = Records::new();
        for n in 0..FIXES {
            let at = START + i64::try_from(n).unwrap() * SECOND;
            let fix = fix(id, "truck", &format!("f-{n}"), at, version);
            world.push_fix(&mut records, 0, &fix);
        }
        world.log.append(records).await.unwrap();
        let running = world.start(round);
        all_done(&world).await;
        running.drain().await;
    }
    let end = world.log.bounds(Topic::TenantStreams, 0).await.unwrap().end;
    let mut read = Vec::new();
    let mut follower = world.follow(Topic::TenantStreams).await;
    follower
        .until("the stream", &mut read, |r| r.len() as u64 == end)
        .await;
    let positions = |r: &&Read| r.header("ce_type") == "laneway.position";
    assert_eq!(read.iter().filter(positions).count(), FIXES);
}
