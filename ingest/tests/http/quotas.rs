//! Quotas of the day.

use std::time::{Duration, Instant};

use http::StatusCode;
use laneway_log::{Log, LogError, Topic};
use laneway_store::{NewTenant, Said, UsageBatch, UsageCount};
use laneway_tenancy::control::{Limits, RoleAuthority};
use laneway_tenancy::quota::day_of_us;
use laneway_tenancy::{Placement, TenantId, TenantScope};
use laneway_testkit::wait;
use serde_json::{Value, json};

use crate::log::Outage;
use crate::rig::{NOW, PARTITIONS, Rig};

const BOUND: Duration = Duration::from_secs(60);

fn batch(fixes: i64) -> String {
    let fixes: Vec<Value> = (0..fixes)
        .map(|n| json!({"recorded_at": NOW / 1000 - n, "lat": 1, "lon": 2}))
        .collect();
    json!({"fixes": fixes}).to_string()
}

fn a_day(events_per_day: u64) -> Limits {
    Limits {
        events_per_day,
        ..Limits::default()
    }
}

fn authority() -> RoleAuthority {
    RoleAuthority::for_role("test")
}

/// Fixes that the log has taken, whether or not it still has them.
async fn accepted(rig: &Rig) -> u64 {
    let mut all = 0;
    for lane in 0..PARTITIONS {
        let bounds = rig.log.bounds(Topic::LocationUpdates, lane).await;
        all += bounds.unwrap().end;
    }
    all
}

/// What all nodes have said of today.
async fn said(rig: &Rig, tenant: TenantId) -> i64 {
    let authority = authority();
    let quotas = rig.store.quotas(&authority);
    let used = quotas.exchange(day_of_us(NOW), &[], &[tenant]).await;
    used.unwrap().first().map_or(0, |u| u.events)
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_as_such_until_the_day_is_over() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", a_day(10)).await;
    let device = rig.device(&tenant, "truck-1").await;
    assert_eq!(rig.update(&device, batch(8)).await.status, StatusCode::OK);
    let refused = rig.update(&device, batch(3)).await;
    assert_eq!(
        (refused.status, refused.kind()),
        (StatusCode::TOO_MANY_REQUESTS, "quota-exceeded")
    );
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(detail.contains("`events_per_day` 8 of 10"), "{detail}");
    // At 02:07 midnight is far: a client asks again within the hour, for the quota may be raised.
    assert_eq!(refused.retry_after(), Some(3600));
    assert_eq!(accepted(&rig).await, 8, "nothing of it is taken");
    let start = rig.post(&device, "/location/session/start", "").await;
    assert_eq!(start.status, StatusCode::CREATED, "{}", start.json);
    assert_eq!(rig.update(&device, batch(1)).await.status, StatusCode::OK);
    let fix = batch(1);
    for (path, body) in [("session/start", ""), ("update", fix.as_str())] {
        let path = format!("/location/{path}");
        let spent = rig.post(&device, &path, body.to_owned()).await;
        assert_eq!(spent.kind(), "quota-exceeded", "{path}");
    }
    let to_midnight = 86_400_000_000 - NOW.rem_euclid(86_400_000_000);
    rig.clock.advance(to_midnight - 30_000_000);
    let late = rig.update(&device, batch(1)).await;
    assert_eq!(late.retry_after(), Some(31));
    rig.clock.advance(30_000_000);
    assert_eq!(rig.update(&device, batch(10)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bytes_are_a_quota_too_and_other_tenants_are_not_concerned() {
    let rig = Rig::start().await;
    let limits = Limits {
        bytes_per_day: 1000,
        ..Limits::default()
    };
    let tenant = rig.tenant("acme", limits).await;
    let device = rig.device(&tenant, "truck-1").await;
    let other = rig.tenant("other", Limits::default()).await;
    let other_device = rig.device(&other, "truck-1").await;
    let mut passed = 0i64;
    let refused = loop {
        let answer = rig.update(&device, batch(1)).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        passed += 1;
        assert!(passed < 100);
    };
    assert_eq!(refused.kind(), "quota-exceeded");
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(detail.contains("bytes_per_day"), "{detail}");
    // What is stored of a fix is between these.
    assert!((4..=20).contains(&passed), "{passed}");
    let answer = rig.update(&other_device, batch(100)).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn what_the_log_did_not_take_is_not_used() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", a_day(10)).await;
    let device = rig.device(&tenant, "truck-1").await;
    rig.log.set(Outage::Fails(LogError::Unavailable {
        doing: "appending",
        reason: "a test".to_owned(),
    }));
    for _ in 0..5 {
        let failed = rig.update(&device, batch(10)).await;
        assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    rig.log.set(Outage::None);
    assert_eq!(rig.update(&device, batch(10)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_let_through_at_most_a_second_of_the_rate_beyond_a_quota() {
    let rig = Rig::start().await;
    const QUOTA: u64 = 6000;
    let tenant = rig.tenant("acme", a_day(QUOTA)).await;
    let one = rig.device(&tenant, "truck-1").await;
    let two = rig.device(&tenant, "truck-2").await;
    let (other, _ends) = rig.another().await;
    let send = |address, device: String| {
        let rig = &rig;
        async move {
            let mut passed = Vec::new();
            loop {
                let answer = rig.update_at(address, &device, batch(20)).await;
                if answer.status != StatusCode::OK {
                    assert_eq!(answer.kind(), "quota-exceeded");
                    return passed;
                }
                passed.push(Instant::now());
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    };
    let (mut all, more) = tokio::join!(send(rig.address, one), send(other, two));
    all.extend(more);
    all.sort_unstable();
    let at_quota = all.len().min(usize::try_from(QUOTA / 20).unwrap()) - 1;
    let beyond = all.last().unwrap().duration_since(all[at_quota]);
    assert!(
        beyond < Duration::from_secs(1),
        "{beyond:?} beyond the quota"
    );
    let used = accepted(&rig).await;
    assert_eq!(used, all.len() as u64 * 20);
    assert!(
        used + 20 > QUOTA,
        "{used}: refused before the quota was used"
    );
    wait::until("all of it to be said", BOUND, || async {
        said(&rig, tenant.tenant()).await == i64::try_from(used).unwrap()
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_anew_does_not_forget_what_was_used() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", a_day(100)).await;
    let device = rig.device(&tenant, "truck-1").await;
    let (first, ends) = rig.another().await;
    let all = rig.update_at(first, &device, batch(100)).await;
    assert_eq!(all.status, StatusCode::OK);
    wait::until("it to be said", BOUND, || async {
        said(&rig, tenant.tenant()).await == 100
    })
    .await
    .unwrap();
    ends.drain();
    let (second, _ends) = rig.another().await;
    let begun = Instant::now();
    wait::until("the new node to know", BOUND, || async {
        let answer = rig.update_at(second, &device, batch(1)).await;
        answer.status != StatusCode::OK
    })
    .await
    .unwrap();
    // It asks within half a second; the rest is for a machine that is busy.
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_metering_has_counted_and_a_dead_node_has_said_is_used() {
    let rig = Rig::start().await;
    let metered = rig.tenant("metered", a_day(100)).await;
    let told = rig.tenant("told", a_day(100)).await;
    let authority = authority();
    let batch_of = UsageBatch {
        generation: 1,
        topic: "location-updates",
        to_offset: 1,
        counts: vec![UsageCount {
            tenant: metered.tenant(),
            day: day_of_us(NOW),
            events: 100,
            bytes: 1,
        }],
        ..UsageBatch::default()
    };
    rig.store.meter(&authority, &batch_of).await.unwrap();
    let said = Said {
        node: "dead".to_owned(),
        admitted: laneway_store::Admitted {
            tenant: told.tenant(),
            events: 100,
            bytes: 1,
        },
    };
    let quotas = rig.store.quotas(&authority);
    quotas.exchange(day_of_us(NOW), &[said], &[]).await.unwrap();
    for tenant in [&metered, &told] {
        let device = rig.device(tenant, "truck-1").await;
        wait::until("the node to know", BOUND, || async {
            rig.update(&device, batch(1)).await.kind() == "quota-exceeded"
        })
        .await
        .unwrap();
    }
}

/// A tenant below another one.
async fn below(rig: &Rig, above: &TenantScope, slug: &str, limits: Limits) -> TenantScope {
    let id = TenantId::from_u128(rig.id());
    let new = NewTenant {
        limits,
        ..NewTenant::plain(id, slug, Placement::first(id, 2, PARTITIONS))
    };
    rig.store.family(above).create(new, NOW).await.unwrap();
    rig.relay().await;
    authority().scope(id)
}

#[tokio::test]
async fn what_a_tenant_below_may_use_is_taken_off_the_quota_of_the_one_above() {
    let rig = Rig::start().await;
    let above = rig.tenant("above", a_day(100)).await;
    let one = below(&rig, &above, "one", a_day(30)).await;
    let two = below(&rig, &above, "two", a_day(20)).await;
    for (tenant, quota) in [(&one, 30), (&above, 50), (&two, 20)] {
        let device = rig.device(tenant, "truck-1").await;
        let over = rig.update(&device, batch(quota + 1)).await;
        assert_eq!(over.kind(), "quota-exceeded", "{quota}");
        let all = rig.update(&device, batch(quota)).await;
        assert_eq!(all.status, StatusCode::OK, "{quota}: {}", all.json);
        let over = rig.update(&device, batch(1)).await;
        assert_eq!(over.kind(), "quota-exceeded", "{quota}");
    }
    assert_eq!(accepted(&rig).await, 100);
}
