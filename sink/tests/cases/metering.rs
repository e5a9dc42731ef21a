//! Metering: whatever is killed, what is counted is what an offline count gives.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use laneway_log::Topic;
use laneway_runtime::{Clock, SystemClock};
use laneway_sink::settings::DeliverySettings;
use laneway_store::{DeviceDay, QuotaWarningRow, Store, UsageBatch, UsageCount, Warned};
use laneway_tenancy::control::{Limits, RoleAuthority};
use laneway_testkit::{Answer, Database, Webhook, wait};

use super::delivery::{accepted, first};
use crate::rig::client::{Sse, Subscriber};
use crate::rig::held::HeldLog;
use crate::rig::metering::{Counted, store};
use crate::rig::receivers::{Receivers, settings};
use crate::rig::{BOUND, Rig, Tenant};

laneway_testkit::on_both_databases!(
    meters_equal_an_offline_count_after_kills,
    who_slept_before_it_began_counts_nothing_again,
    deliveries_are_counted_by_acknowledged_event_whatever_is_killed,
    a_dead_letter_counts_when_it_is_delivered_and_the_last_word_of_a_destination_too,
    a_tenant_is_warned_once_of_each_quota_and_day,
    a_warning_that_was_begun_is_finished_once,
);

const DAY_MS: i64 = 86_400_000;

fn authority() -> RoleAuthority {
    RoleAuthority::for_role("test")
}

fn now_ms() -> i64 {
    SystemClock.now_us() / 1000
}

async fn counted(store: &Store, tenants: &[Tenant], days: (i64, i64)) -> Vec<(String, [i64; 4])> {
    let mut found = Vec::new();
    for tenant in tenants {
        for day in store
            .usage(&tenant.scope)
            .days(days.0, days.1)
            .await
            .unwrap()
        {
            let counts = [day.day, day.events, day.bytes, day.devices];
            found.push((tenant.id.to_string(), counts));
        }
    }
    found
}

fn as_counted(counted: Counted) -> Vec<(String, [i64; 4])> {
    counted
        .into_iter()
        .map(|((tenant, day), (events, bytes, devices))| {
            (tenant, [day, events, bytes, devices.len() as i64])
        })
        .collect()
}

async fn deliveries(store: &Store, tenant: &Tenant) -> i64 {
    let today = now_ms() / DAY_MS;
    let days = store.usage(&tenant.scope).days(today - 1, today + 1).await;
    days.unwrap().iter().map(|day| day.deliveries).sum()
}

/// What others accept and count while one is about to begin is not taken for a log that lacks what
/// the store has.
async fn who_slept_before_it_began_counts_nothing_again(database: Database) {
    let rig = Rig::new(1).await;
    let (store, _database) = store(database).await;
    let tenant = rig.tenant(1, 1).await;
    let (now, today) = (now_ms(), now_ms() / DAY_MS);
    let topic = Topic::LocationUpdates;
    rig.accept(&tenant, topic, "d1", &[now, now, now]).await;
    let log = Arc::new(HeldLog::new(Arc::clone(&rig.log), 0));
    let sleeper = rig.meter_on(Arc::clone(&log) as _, "sink-0", &store);
    log.asked.notified().await;
    rig.accept(&tenant, topic, "d2", &[now, now]).await;
    let accepted = rig.recount().await;
    let (events, bytes, _) = accepted[&(tenant.id.to_string(), today)];
    let others = UsageBatch {
        generation: 1,
        topic: topic.name(),
        partition: 0,
        from_offset: 0,
        to_offset: rig.log.bounds(topic, 0).await.unwrap().end,
        counts: vec![UsageCount {
            tenant: tenant.id,
            day: today,
            events,
            bytes,
        }],
        devices: ["d1", "d2"]
            .map(|device| DeviceDay {
                tenant: tenant.id,
                day: today,
                device: device.parse().unwrap(),
            })
            .into(),
        ..UsageBatch::default()
    };
    store.meter(&authority(), &others).await.unwrap();
    log.answer.notify_one();
    // It is at work, and has counted what came after the others.
    rig.accept(&tenant, topic, "d3", &[now]).await;
    rig.metered(&store).await;
    let found = counted(&store, &[tenant], (today, today)).await;
    assert_eq!(found, as_counted(rig.recount().await));
    sleeper.stop().await;
}

async fn meters_equal_an_offline_count_after_kills(database: Database) {
    let rig = Rig::new(3).await;
    let (store, _database) = store(database).await;
    let tenants = [rig.tenant(1, 2).await, rig.tenant(2, 3).await];
    let today = now_ms() / DAY_MS;
    let (midnight, days) = (today * DAY_MS, (today - 10, today + 10));
    let mut members = Vec::new();
    for round in 0..14i64 {
        // Before anything is there for those that are still at work.
        let before = rig.progress(&store).await;
        for (t, tenant) in (0i64..).zip(&tenants) {
            for device in 0..4 {
                // Over midnight, now and then late.
                let at = |n: i64| midnight + (round - 7) * 1000 + n * 400 * (t + 1);
                let times: Vec<i64> = (0..5 + device).map(at).collect();
                let device = format!("d{}", device + round % 3);
                rig.accept(tenant, Topic::LocationUpdates, &device, &times)
                    .await;
                rig.accept(tenant, Topic::SessionEvents, &device, &times[..1])
                    .await;
                rig.accept_again(tenant, &device, times[0]).await;
            }
        }
        members.push(rig.meter(&format!("sink-{}", round % 2), &store));
        wait::until("some of it to be metered", BOUND, || async {
            rig.progress(&store).await > before
        })
        .await
        .unwrap();
        // Killed in the middle, mostly; two at a time now and then.
        if round % 3 != 2 {
            for member in members.drain(..) {
                member.kill().await;
            }
        }
    }
    for member in members {
        member.kill().await;
    }
    let member = rig.meter("sink-0", &store);
    rig.metered(&store).await;
    let found = counted(&store, &tenants, days).await;
    assert_eq!(found, as_counted(rig.recount().await));
    // A device that was counted before, and one that was not.
    for device in ["d0", "last"] {
        rig.accept(&tenants[0], Topic::LocationUpdates, device, &[midnight])
            .await;
    }
    rig.metered(&store).await;
    let found = counted(&store, &tenants, days).await;
    assert_eq!(found, as_counted(rig.recount().await));
    member.stop().await;
}

async fn deliveries_are_counted_by_acknowledged_event_whatever_is_killed(database: Database) {
    let rig = Rig::new(2).await;
    let (store, _database) = store(database).await;
    let tenant = rig.tenant(1, 2).await;
    rig.destination(&tenant, first(), true).await;
    // Fails on the first attempt of every event.
    let seen: Mutex<HashSet<String>> = Mutex::default();
    let receiver = Webhook::start(move |head, _| {
        let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
        let new = seen.lock().unwrap().insert(id);
        Answer::status(if new { 500 } else { 200 })
    })
    .await
    .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let all = || {
        let events = accepted(&receiver).into_values().flatten();
        events.collect::<HashSet<String>>().len()
    };
    let slow = DeliverySettings {
        commit_ms: 200,
        ..settings()
    };
    for round in 0..6i64 {
        let delivering = rig.deliver(&receivers, slow.clone());
        let metering = rig.meter("sink-1", &store);
        for device in ["a", "b", "c", "d"] {
            rig.append(&tenant, device, round * 10..round * 10 + 10)
                .await;
        }
        let wanted = usize::try_from(round).unwrap() * 40 + 20;
        wait::until("half of it to arrive", BOUND, || async { all() >= wanted })
            .await
            .unwrap();
        metering.kill().await;
        delivering.kill().await;
    }
    let metering = rig.meter("sink-1", &store);
    let delivering = rig.deliver(&receivers, settings());
    wait::until("all of it to arrive", BOUND, || async { all() == 240 })
        .await
        .unwrap();
    // What arrived before a kill arrives again where nothing said that it had.
    wait::until("all of it to be counted", BOUND, || async {
        deliveries(&store, &tenant).await >= 240
    })
    .await
    .unwrap();
    delivering.stop().await;
    assert!(receiver.accepted() > 240, "nothing was delivered twice");
    rig.metered(&store).await;
    assert_eq!(deliveries(&store, &tenant).await, 240);
    // At the head, with nothing open before and after.
    for n in 60..63 {
        let delivering = rig.deliver(&receivers, settings());
        rig.append(&tenant, "a", [n]).await;
        let arrived = usize::try_from(n).unwrap() - 60 + 241;
        wait::until("it to arrive", BOUND, || async { all() == arrived })
            .await
            .unwrap();
        delivering.stop().await;
    }
    rig.metered(&store).await;
    assert_eq!(deliveries(&store, &tenant).await, 243);
    metering.stop().await;
}

async fn a_dead_letter_counts_when_it_is_delivered_and_the_last_word_of_a_destination_too(
    database: Database,
) {
    let rig = Rig::new(1).await;
    let (store, _database) = store(database).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let refusing = |head: &http::request::Parts| head.headers["webhook-id"] == "a-1.1";
    let receiver =
        Webhook::start(move |head, _| Answer::status(if refusing(head) { 422 } else { 200 }))
            .await
            .unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let quick = DeliverySettings {
        park_after: 3,
        ..settings()
    };
    let all = || {
        let events = accepted(&receiver).into_values().flatten();
        events.collect::<HashSet<String>>().len()
    };
    let as_many = |what: &'static str| {
        let (store, tenant, all) = (&store, &tenant, &all);
        async move {
            wait::until(what, BOUND, || async {
                deliveries(store, tenant).await == all() as i64
            })
            .await
            .unwrap();
        }
    };
    let delivering = rig.deliver(&receivers, quick.clone());
    let metering = rig.meter("sink-1", &store);
    rig.append(&tenant, "a", 0..3).await;
    super::dead_letters::parked(&rig, &tenant, "a-1.1").await;
    wait::until("what comes after it", BOUND, || async {
        accepted(&receiver)["a"].len() == 2
    })
    .await
    .unwrap();
    as_many("all but the dead letter to be counted").await;

    receiver.answer(|_, _| Answer::status(200));
    super::dead_letters::redrive(&rig, &tenant, Some("a-1.1"), i64::MAX / 2).await;
    super::dead_letters::gone(&rig, &tenant, "a-1.1").await;
    assert_eq!(accepted(&receiver)["a"].len(), 3);
    as_many("the dead letter to be counted").await;
    delivering.stop().await;

    // What a destination had at last is said with the deletion of its cursor.
    let slow = DeliverySettings {
        commit_ms: 2000,
        ..quick
    };
    let delivering = rig.deliver(&receivers, slow);
    let before = all();
    rig.append(&tenant, "a", 10..15).await;
    wait::until("the deliveries", BOUND, || async { all() == before + 5 })
        .await
        .unwrap();
    rig.destination(&tenant, first(), false).await;
    wait::until("the cursor to be deleted", BOUND, || async {
        rig.table(Topic::SinkCursors, 0).await.is_empty()
    })
    .await
    .unwrap();
    rig.metered(&store).await;
    assert_eq!(deliveries(&store, &tenant).await, all() as i64);
    delivering.stop().await;
    metering.stop().await;
}

fn ten_a_day() -> Limits {
    Limits {
        events_per_day: 10,
        bytes_per_day: 1_000_000,
        ..Limits::default()
    }
}

async fn a_tenant_is_warned_once_of_each_quota_and_day(database: Database) {
    let rig = Rig::new(2).await;
    let (store, _database) = store(database).await;
    let (tenant, other) = (rig.tenant(1, 2).await, rig.tenant(2, 2).await);
    rig.limit(&tenant, ten_a_day()).await;
    rig.limit(&other, ten_a_day()).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = Webhook::accepting().await.unwrap();
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let delivering = rig.deliver(&receivers, settings());
    let now = now_ms();
    rig.accept(&tenant, Topic::LocationUpdates, "a", &[now; 4])
        .await;
    rig.accept(&tenant, Topic::LocationUpdates, "b", &[now; 4])
        .await;
    rig.accept(&other, Topic::LocationUpdates, "a", &[now; 7])
        .await;
    let members = [rig.meter("sink-1", &store), rig.meter("sink-2", &store)];
    receiver.wait_for(1, BOUND).await.unwrap();
    for member in members {
        member.kill().await;
    }
    // More of the same, and another member.
    rig.accept(&tenant, Topic::LocationUpdates, "a", &[now; 2])
        .await;
    let member = rig.meter("sink-3", &store);
    let authority = authority();
    let warnings = store.quota_warnings(&authority);
    let wanted = warning(&tenant, now);
    wait::until("the warning to be noted", BOUND, || async {
        warnings.decide(&wanted).await.unwrap() == Warned::Written
    })
    .await
    .unwrap();
    let ids = rig.of_the_whole_tenant(&tenant).await;
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(rig.of_the_whole_tenant(&other).await.is_empty());

    let received = receiver.received();
    let event: serde_json::Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(event["type"], "laneway.quota.warning");
    assert_eq!(event["id"], ids[0]);
    assert_eq!(event["subject"], "~");
    assert_eq!(event["data"]["quota"], "events_per_day");
    assert_eq!(event["data"]["used"], 8);
    assert_eq!(event["data"]["limit"], 10);

    // Who names the type has it, whatever devices it names; who names devices alone has not.
    let address = rig
        .sink(|s| (s.metering.enabled, s.delivery.enabled) = (false, false))
        .await;
    let query = "?event_types=laneway.quota.warning&devices=a&from=earliest";
    let mut named = Sse::open(address, &tenant.key, query, None).await;
    assert_eq!(named.next().await.1["id"], ids[0]);
    rig.append(&tenant, "a", [now / 1000]).await;
    let query = "?devices=a&from=earliest";
    let mut of_device = Sse::open(address, &tenant.key, query, None).await;
    assert_eq!(of_device.next().await.1["type"], "laneway.position");
    member.stop().await;
    delivering.stop().await;
}

fn warning(tenant: &Tenant, now_ms: i64) -> QuotaWarningRow {
    QuotaWarningRow {
        tenant: tenant.id,
        day: now_ms / DAY_MS,
        quota: "events_per_day".to_owned(),
        used: 9,
        limit: 10,
        warned_at: now_ms * 1000,
    }
}

async fn a_warning_that_was_begun_is_finished_once(database: Database) {
    let rig = Rig::new(2).await;
    let (store, _database) = store(database).await;
    let tenant = rig.tenant(1, 2).await;
    rig.limit(&tenant, ten_a_day()).await;
    let now = now_ms();
    rig.accept(&tenant, Topic::LocationUpdates, "a", &[now; 9])
        .await;
    let wanted = warning(&tenant, now);
    // Somebody decided on it, and was killed before its event was written.
    let begun = store.quota_warnings(&authority()).decide(&wanted).await;
    assert_eq!(begun.unwrap(), Warned::First(wanted.clone()));
    let written = |store: Store| {
        let wanted = wanted.clone();
        async move {
            wait::until("the warning to be written", BOUND, || async {
                let decided = store.quota_warnings(&authority()).decide(&wanted).await;
                decided.unwrap() == Warned::Written
            })
            .await
            .unwrap();
        }
    };
    let member = rig.meter("sink-1", &store);
    written(store.clone()).await;
    member.kill().await;
    assert_eq!(rig.of_the_whole_tenant(&tenant).await.len(), 1);
    // Or after it was written, and before that was noted: another store has not heard of it.
    let (deaf, _other_database) = self::store(database).await;
    deaf.quota_warnings(&authority())
        .decide(&wanted)
        .await
        .unwrap();
    let member = rig.meter("sink-1", &deaf);
    written(deaf.clone()).await;
    assert_eq!(rig.of_the_whole_tenant(&tenant).await.len(), 1);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_metered_with_their_peak_and_their_time() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let store = rig.store().await;
    let address = rig.sink(|_| {}).await;
    let one = Subscriber::connect(address, &tenant.key).await;
    let two = Subscriber::connect(address, &tenant.key).await;
    let seen = || async {
        let today = now_ms() / DAY_MS;
        let days = store.usage(&tenant.scope).days(today - 1, today).await;
        let days = days.unwrap();
        let peak = days.iter().map(|d| d.sockets_peak).max().unwrap_or(0);
        let open_us: i64 = days.iter().map(|d| d.sockets_open_us).sum();
        (peak, open_us)
    };
    wait::until("both to be metered", BOUND, || async {
        let (peak, open_us) = seen().await;
        peak == 2 && open_us > 0
    })
    .await
    .unwrap();
    drop(one);
    let before = seen().await.1;
    wait::until("the time to go on", BOUND, || async {
        seen().await.1 > before
    })
    .await
    .unwrap();
    assert_eq!(seen().await.0, 2);
    drop(two);
}
