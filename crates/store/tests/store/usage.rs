//! Usage: counted once whatever happens, and read by its tenant alone.

use std::collections::BTreeSet;

use crate::support::{NOW, authority, operator, rig};
use laneway_store::{
    Admitted, DeliveredTotal, DeviceDay, QuotaWarningRow, Said, SocketUse, StoreError, UsageBatch,
    UsageCount, UsageDay, Warned,
};
use laneway_tenancy::{DestinationId, DeviceId, TenantId};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    a_batch_is_counted_once_or_not_at_all,
    a_device_counts_once_a_day_however_often_it_sends,
    of_an_erased_device_the_count_of_a_day_is_kept_and_not_its_name,
    deliveries_are_what_totals_grew_by,
    usage_of_one_tenant_is_not_anothers,
    what_is_used_of_a_quota_is_the_most_that_anyone_knows_of,
    a_warning_is_decided_on_once,
    connections_are_added_up_over_nodes_and_said_again_without_harm,
    the_operator_reads_a_day_in_pages,
);

const DAY: i64 = 20_000;

fn batch(from: u64, to: u64, counts: Vec<UsageCount>) -> UsageBatch {
    UsageBatch {
        generation: 1,
        topic: "location-updates",
        partition: 3,
        from_offset: from,
        to_offset: to,
        counts,
        ..UsageBatch::default()
    }
}

fn count(tenant: TenantId, day: i64, events: i64) -> UsageCount {
    UsageCount {
        tenant,
        day,
        events,
        bytes: events * 100,
    }
}

fn seen(tenant: TenantId, day: i64, devices: &[&str]) -> BTreeSet<DeviceDay> {
    let seen = devices.iter().map(|device| DeviceDay {
        tenant,
        day,
        device: device.parse().unwrap(),
    });
    seen.collect()
}

async fn a_batch_is_counted_once_or_not_at_all(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let authority = authority();
    let metered = || rig.store.metered(&authority, 1, "location-updates", 3);
    assert_eq!(metered().await.unwrap(), None);
    let first = batch(10, 15, vec![count(tenant.id, DAY, 5)]);
    rig.store.meter(&authority, &first).await.unwrap();
    assert_eq!(metered().await.unwrap(), Some(15));
    // The same again, as after an answer that was lost; then one that begins elsewhere.
    for (from, to) in [(10, 15), (14, 20)] {
        let refused = rig
            .store
            .meter(&authority, &batch(from, to, first.counts.clone()))
            .await;
        assert!(
            matches!(
                refused,
                Err(StoreError::Moved {
                    actual: Some(15),
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    let next = vec![count(tenant.id, DAY, 2), count(tenant.id, DAY + 1, 1)];
    rig.store
        .meter(&authority, &batch(15, 18, next))
        .await
        .unwrap();
    // Another topic of the same partition is apart.
    let other = UsageBatch {
        topic: "session-events",
        ..batch(0, 1, vec![count(tenant.id, DAY, 1)])
    };
    rig.store.meter(&authority, &other).await.unwrap();
    // Of several partitions all are counted or, where one has moved, none.
    let third = |from, to| UsageBatch {
        topic: "session-events",
        ..batch(from, to, vec![count(tenant.id, DAY, 10)])
    };
    let (stale, fresh) = (third(0, 2), batch(18, 20, vec![count(tenant.id, DAY, 20)]));
    let mut both = [&fresh, &stale];
    let refused = rig.store.meter_all(&authority, &mut both).await;
    assert!(matches!(refused, Err(StoreError::Moved { .. })));
    assert_eq!(metered().await.unwrap(), Some(18));
    let next = third(1, 2);
    rig.store
        .meter_all(&authority, &mut [&next, &fresh])
        .await
        .unwrap();
    let days = rig.store.usage(&scope).days(DAY, DAY + 5).await.unwrap();
    let found: Vec<(i64, i64, i64)> = days.iter().map(|d| (d.day, d.events, d.bytes)).collect();
    assert_eq!(found, [(DAY, 38, 3800), (DAY + 1, 1, 100)]);
}

async fn of_an_erased_device_the_count_of_a_day_is_kept_and_not_its_name(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let (authority, devices) = (authority(), rig.store.devices(&scope));
    let truck: DeviceId = "truck".parse().unwrap();
    devices.create(&truck, NOW).await.unwrap();
    let mut offset = 0;
    let mut active = async || {
        let batch = UsageBatch {
            devices: seen(tenant.id, DAY, &["truck", "van"]),
            ..batch(offset, offset + 1, Vec::new())
        };
        offset += 1;
        rig.store.meter(&authority, &batch).await.unwrap();
        let days = rig.store.usage(&scope).days(DAY, DAY).await.unwrap();
        days[0].devices
    };
    assert_eq!(active().await, 2);
    devices.erase(&truck, false, NOW).await.unwrap();
    // What was accepted before may still be counted: it is told by its name until then.
    for (next, expected) in [(Some(NOW + 1), 2), (None, 3)] {
        let erasures = rig.store.erasures(&authority);
        let open = erasures.open(NOW + 10, None, 10).await.unwrap();
        devices.erase_late(&open[0], next).await.unwrap();
        assert_eq!(active().await, expected);
    }
}

async fn a_device_counts_once_a_day_however_often_it_sends(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let authority = authority();
    let many: Vec<String> = (0..300).map(|n| format!("d{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let batches = [
        (DAY, &["a", "b"][..]),
        (DAY, &["b", "c"][..]),
        (DAY + 1, &["a"][..]),
        (DAY + 2, &many[..]),
        (DAY + 2, &many[..]),
    ];
    for (number, (day, devices)) in (0..).zip(batches) {
        let batch = UsageBatch {
            devices: seen(tenant.id, day, devices),
            ..batch(number, number + 1, Vec::new())
        };
        rig.store.meter(&authority, &batch).await.unwrap();
    }
    let days = rig.store.usage(&scope).days(DAY, DAY + 2).await.unwrap();
    let found: Vec<i64> = days.iter().map(|d| d.devices).collect();
    assert_eq!(found, [3, 1, 300]);
    // What they were is forgotten; how many they were is not.
    let warnings = rig.store.quota_warnings(&authority);
    warnings.forget_before(tenant.id, DAY + 2).await.unwrap();
    let after = rig.store.usage(&scope).days(DAY, DAY + 2).await.unwrap();
    assert_eq!(after, days);
}

async fn deliveries_are_what_totals_grew_by(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let authority = authority();
    let said = |destination, day, total| DeliveredTotal {
        tenant: tenant.id,
        destination: DestinationId::from_u128(destination),
        lane: 3,
        day,
        total,
    };
    let batches = [
        // Two cursors; one moves twice in a batch, over midnight.
        vec![
            said(1, DAY, Some(4)),
            said(2, DAY, Some(1)),
            said(1, DAY + 1, Some(6)),
        ],
        // The same total again is nothing new.
        vec![said(1, DAY + 1, Some(6)), said(2, DAY + 1, Some(1))],
        // One is deleted after its last word, and would begin anew.
        vec![said(2, DAY + 1, Some(3)), said(2, DAY + 1, None)],
        vec![said(2, DAY + 1, Some(2))],
        // A cursor that was lost begins anew.
        vec![said(1, DAY + 1, Some(1))],
    ];
    for (number, delivered) in (0..).zip(batches) {
        let batch = UsageBatch {
            topic: "sink-cursors",
            delivered,
            ..batch(number, number + 1, Vec::new())
        };
        rig.store.meter(&authority, &batch).await.unwrap();
    }
    let days = rig.store.usage(&scope).days(DAY, DAY + 1).await.unwrap();
    let found: Vec<i64> = days.iter().map(|d| d.deliveries).collect();
    assert_eq!(found, [5, 2 + 2 + 2 + 1]);
}

async fn usage_of_one_tenant_is_not_anothers(database: Database) {
    let rig = rig(database).await;
    let (mine, _) = rig.tenant("mine").await;
    let (_, their_scope) = rig.tenant("theirs").await;
    let batch = batch(0, 1, vec![count(mine.id, DAY, 5)]);
    rig.store.meter(&authority(), &batch).await.unwrap();
    let theirs = rig.store.usage(&their_scope).days(DAY, DAY).await.unwrap();
    assert_eq!(theirs, []);
}

async fn what_is_used_of_a_quota_is_the_most_that_anyone_knows_of(database: Database) {
    let rig = rig(database).await;
    let (tenant, _) = rig.tenant("acme").await;
    let (other, _) = rig.tenant("other").await;
    let authority = authority();
    let quotas = rig.store.quotas(&authority);
    let admitted = |events| Admitted {
        tenant: tenant.id,
        events,
        bytes: events * 10,
    };
    let all = [tenant.id, other.id];
    for (node, said, used) in [
        ("a", 5, 5),
        ("b", 3, 8),
        // A node says what it let through all in all: once more changes nothing.
        ("b", 3, 8),
        ("a", 6, 9),
    ] {
        let said = Said {
            node: node.to_owned(),
            admitted: admitted(said),
        };
        let found = quotas.exchange(DAY, &[said], &all).await.unwrap();
        assert_eq!(found, [admitted(used)]);
    }
    // A node was killed before it said its last, and metering has counted it.
    let metered = UsageCount {
        bytes: 1,
        ..count(tenant.id, DAY, 20)
    };
    let batch = batch(0, 1, vec![metered]);
    rig.store.meter(&authority, &batch).await.unwrap();
    let found = quotas.exchange(DAY, &[], &all).await.unwrap();
    assert_eq!((found[0].events, found[0].bytes), (20, 90));
    let tomorrow = quotas.exchange(DAY + 1, &[], &all).await.unwrap();
    assert_eq!(tomorrow, []);
    let warnings = rig.store.quota_warnings(&authority);
    warnings.forget_before(tenant.id, DAY + 1).await.unwrap();
    let found = quotas.exchange(DAY, &[], &all).await.unwrap();
    assert_eq!((found[0].events, found[0].bytes), (20, 1));
}

async fn a_warning_is_decided_on_once(database: Database) {
    let rig = rig(database).await;
    let (tenant, _) = rig.tenant("acme").await;
    let authority = authority();
    let warnings = rig.store.quota_warnings(&authority);
    let wanted = QuotaWarningRow {
        tenant: tenant.id,
        day: DAY,
        quota: "events_per_day".to_owned(),
        used: 80,
        limit: 100,
        warned_at: NOW,
    };
    let first = warnings.decide(&wanted).await.unwrap();
    assert_eq!(first, Warned::First(wanted.clone()));
    let later = QuotaWarningRow {
        used: 90,
        warned_at: NOW + 1,
        ..wanted.clone()
    };
    let again = warnings.decide(&later).await.unwrap();
    assert_eq!(again, Warned::Unfinished(wanted.clone()));
    warnings.written(&wanted).await.unwrap();
    assert_eq!(warnings.decide(&later).await.unwrap(), Warned::Written);
    let other = QuotaWarningRow {
        quota: "bytes_per_day".to_owned(),
        ..wanted.clone()
    };
    let other_quota = warnings.decide(&other).await.unwrap();
    assert_eq!(other_quota, Warned::First(other));
    // Counted over all tenants, and forgotten once its day is past.
    let (other, _) = rig.tenant("other").await;
    let others = QuotaWarningRow {
        tenant: other.id,
        ..wanted.clone()
    };
    warnings.decide(&others).await.unwrap();
    assert_eq!(warnings.count(DAY).await.unwrap(), 3);
    assert_eq!(warnings.count(DAY + 1).await.unwrap(), 0);
    warnings.forget_before(other.id, DAY + 1).await.unwrap();
    assert_eq!(warnings.count(DAY).await.unwrap(), 2);
}

async fn connections_are_added_up_over_nodes_and_said_again_without_harm(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let authority = authority();
    let seen = |peak, open_us| SocketUse {
        tenant: tenant.id,
        day: DAY,
        peak,
        open_us,
    };
    for (node, life, peak, open_us) in [
        ("a", 1, 2, 5),
        ("a", 1, 3, 7),
        // The node was started again: its peaks do not add up, the time does.
        ("a", 2, 1, 10),
        ("b", 1, 4, 100),
    ] {
        rig.store
            .meter_sockets(&authority, (node, life), &[seen(peak, open_us)])
            .await
            .unwrap();
    }
    let days = rig.store.usage(&scope).days(DAY, DAY).await.unwrap();
    let expected = UsageDay {
        day: DAY,
        sockets_peak: 3 + 4,
        sockets_open_us: 7 + 10 + 100,
        ..UsageDay::default()
    };
    assert_eq!(days, [expected]);
}

async fn the_operator_reads_a_day_in_pages(database: Database) {
    let rig = rig(database).await;
    let mut tenants = Vec::new();
    for slug in ["one", "two", "three"] {
        tenants.push(rig.tenant(slug).await.0.id);
    }
    tenants.sort_unstable();
    let counts = tenants[..2]
        .iter()
        .flat_map(|t| {
            [
                count(*t, DAY, 5),
                count(*t, DAY - 1, 7),
                count(*t, DAY - 2, 9),
            ]
        })
        .collect();
    rig.store
        .meter(&authority(), &batch(0, 1, counts))
        .await
        .unwrap();
    let operator = operator();
    let usages = rig.store.usages(&operator);
    let first = usages.of_day(DAY, 2, None, 2).await.unwrap();
    let found: Vec<_> = first
        .iter()
        .map(|u| (u.tenant, u.usage.events, u.kept_bytes))
        .collect();
    assert_eq!(found, [(tenants[0], 5, 1200), (tenants[1], 5, 1200)]);
    let rest = usages.of_day(DAY, 2, Some(tenants[1]), 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].usage.events, rest[0].kept_bytes), (0, 0));
}
