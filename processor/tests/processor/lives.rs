//! A record is judged by what was known at the control version it was accepted under, whatever
//! came after, also by a processor that reads the compacted control changes anew.

use std::collections::BTreeSet;

use laneway_log::{Records, Topic};
use laneway_schemas::{Position, Quarantined};
use laneway_tenancy::TenantId;

use crate::support::{START, World, fix, tenant};

/// Sends a fix of the device under each version; those that pass, and the others' reasons.
async fn judged(
    world: &World,
    round: &str,
    (id, device): (TenantId, &str),
    versions: std::ops::RangeInclusive<i64>,
) -> (BTreeSet<i64>, BTreeSet<(i64, String)>) {
    let mut records = Records::new();
    for version in versions.clone() {
        let name = format!("{round}/{device}/{version}");
        world.push_fix(&mut records, 1, &fix(id, device, &name, START, version));
    }
    world.log.append(records).await.unwrap();
    let running = world.start(round);
    let prefix = format!("{round}/{device}/");
    let version_of = |fix_id: &str| fix_id.strip_prefix(&prefix)?.parse::<i64>().ok();
    let (mut passed, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let (mut events, mut quarantined) = (Vec::new(), Vec::new());
    let mut stream = world.follow(Topic::TenantStreams).await;
    let mut quarantine = world.follow(Topic::Quarantine).await;
    let count = versions.count();
    while passed.len() + refused.len() < count {
        let (seen, known) = (events.len(), quarantined.len());
        tokio::select! {
            () = stream.until("a passed fix", &mut events, |r| r.len() > seen) => {}
            () = quarantine.until("a refused fix", &mut quarantined, |r| r.len() > known) => {}
        }
        for event in &events {
            if event.header("ce_type") == "laneway.position" {
                let position: Position = world.codecs.decode(&event.value).unwrap();
                passed.extend(version_of(&position.fix_id));
            }
        }
        for record in &quarantined {
            let q: Quarantined = world.codecs.decode(&record.value).unwrap();
            let fix: laneway_schemas::LocationUpdate =
                world.codecs.decode(q.value.as_ref().unwrap()).unwrap();
            refused.extend(version_of(&fix.fix_id).map(|v| (v, q.reason)));
        }
    }
    running.drain().await;
    (passed, refused)
}

#[tokio::test]
async fn a_record_is_judged_by_what_was_known_at_its_version_also_after_compaction() {
    let mut world = World::new().await;
    let (mine, closed) = (tenant(1), tenant(2));
    world.add_tenant(mine, &[1]);
    let first = world.add_device(mine, "truck");
    let sold = world.remove_device(mine, "truck");
    world.add_device(mine, "another");
    let again = world.add_device(mine, "truck");
    assert_eq!((first, sold, again), (2, 3, 5));
    world.add_tenant(closed, &[1]);
    world.add_device(closed, "van");
    world.remove_device(mine, "another");
    let last = world.add_device(closed, "other");
    let deleted = world.remove_tenant(closed);
    assert_eq!((last, deleted), (3, 4));

    for round in ["as it happens", "after a restart"] {
        let (passed, refused) = judged(&world, round, (mine, "truck"), 1..=6).await;
        assert_eq!(passed, [2, 5, 6].into(), "{round}");
        let unknown = |v| (v, "unknown-device".to_owned());
        assert_eq!(refused, [1, 3, 4].map(unknown).into(), "{round}");

        let (passed, refused) = judged(&world, round, (closed, "van"), 1..=4).await;
        assert_eq!(passed, [2, 3].into(), "{round}");
        let reasons = [unknown(1), (4, "unknown-tenant".to_owned())];
        assert_eq!(refused, reasons.into(), "{round}");
        world.restore_directory().await;
    }
}
