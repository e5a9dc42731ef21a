//! The projection: positions, sessions and how far it has come, all or nothing.

use crate::support::{Rig, authority, rig};
use laneway_store::{PositionRow, ProjectionBatch, SessionRow, SessionState, StoreError};
use laneway_tenancy::{DeviceId, SessionId, TenantId, TenantScope};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    a_batch_moves_the_partition_or_changes_nothing,
    the_latest_position_is_by_event_time_then_id_then_revision,
    a_session_keeps_what_a_newer_event_does_not_say,
    large_batches_are_written_whole,
    of_two_members_that_write_the_same_batch_neither_loses_or_goes_back,
    where_the_log_ends_before_the_store_it_begins_again,
);

fn position(
    tenant: TenantId,
    device: &str,
    recorded_at: i64,
    fix: &str,
    revision: i64,
) -> PositionRow {
    PositionRow {
        tenant,
        device: device.parse().unwrap(),
        recorded_at,
        received_at: recorded_at + 1,
        fix_id: fix.into(),
        revision,
        body: format!(r#"{{"fix":"{fix}","revision":{revision}}}"#),
    }
}

fn batch(
    from: u64,
    to: u64,
    positions: Vec<PositionRow>,
    sessions: Vec<SessionRow>,
) -> ProjectionBatch {
    ProjectionBatch {
        generation: 1,
        partition: 3,
        from_offset: from,
        to_offset: to,
        positions,
        sessions,
    }
}

async fn latest(rig: &Rig, scope: &TenantScope, device: &str) -> Option<(i64, String, i64)> {
    let device: DeviceId = device.parse().unwrap();
    let found = rig.store.positions(scope).latest(&device).await.unwrap();
    found.map(|p| (p.recorded_at, p.fix_id, p.revision))
}

async fn a_batch_moves_the_partition_or_changes_nothing(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let authority_of_test = authority();
    let at = || async {
        let found = rig.store.projected(&authority_of_test, 1, 3).await;
        found.unwrap().least()
    };
    assert_eq!(at().await, None);
    rig.store
        .project(
            &authority(),
            batch(10, 20, vec![position(tenant.id, "d", 5, "a", 0)], vec![]),
        )
        .await
        .unwrap();
    assert_eq!(at().await, Some(20));
    // What is there is passed over, and a gap is refused.
    let again = vec![position(tenant.id, "d", 9, "b", 0)];
    rig.store
        .project(&authority(), batch(10, 20, again.clone(), vec![]))
        .await
        .unwrap();
    let beyond = rig
        .store
        .project(&authority(), batch(21, 30, again, vec![]))
        .await;
    assert!(
        matches!(
            beyond,
            Err(StoreError::Moved {
                actual: Some(20),
                expected: 21,
                ..
            })
        ),
        "{beyond:?}"
    );
    assert_eq!(latest(&rig, &scope, "d").await, Some((5, "a".into(), 0)));
    rig.store
        .project(&authority(), batch(20, 21, vec![], vec![]))
        .await
        .unwrap();
    assert_eq!(at().await, Some(21));
    // One that begins before and ends beyond is written, and does not go back.
    let more = vec![position(tenant.id, "d", 9, "b", 0)];
    rig.store
        .project(&authority(), batch(15, 25, more, vec![]))
        .await
        .unwrap();
    assert_eq!(at().await, Some(25));
    assert_eq!(latest(&rig, &scope, "d").await, Some((9, "b".into(), 0)));
}

async fn where_the_log_ends_before_the_store_it_begins_again(database: Database) {
    let rig = rig(database).await;
    let authority = authority();
    rig.store
        .project(&authority, batch(10, 20, vec![], vec![]))
        .await
        .unwrap();
    let at = || async {
        let found = rig.store.projected(&authority, 1, 3).await;
        found.unwrap().least()
    };
    let found = rig.store.projected(&authority, 1, 3).await.unwrap();
    let again = |end| rig.store.project_again(&authority, (1, 3), &found, end, 2);
    assert!(!found.is_beyond(20) && !again(20).await.unwrap());
    assert_eq!(at().await, Some(20));
    assert!(found.is_beyond(19) && again(19).await.unwrap());
    assert_eq!(at().await, Some(2));
    // What was found is no more: another has gone on.
    rig.store
        .project(&authority, batch(2, 30, vec![], vec![]))
        .await
        .unwrap();
    assert!(!again(19).await.unwrap());
    assert_eq!(at().await, Some(30));
}

async fn the_latest_position_is_by_event_time_then_id_then_revision(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let steps = [
        (10, "b", 0, (10, "b", 0)),
        (9, "z", 9, (10, "b", 0)),
        (10, "a", 5, (10, "b", 0)),
        (10, "b", 1, (10, "b", 1)),
        (10, "B", 2, (10, "b", 1)),
        (10, "c", 0, (10, "c", 0)),
        (11, "a", 0, (11, "a", 0)),
    ];
    for (offset, (recorded_at, fix, revision, expected)) in (0u64..).zip(steps) {
        let rows = vec![position(tenant.id, "d", recorded_at, fix, revision)];
        rig.store
            .project(&authority(), batch(offset, offset + 1, rows, vec![]))
            .await
            .unwrap();
        let expected = (expected.0, expected.1.to_owned(), expected.2);
        assert_eq!(latest(&rig, &scope, "d").await, Some(expected));
    }
    // The same in one batch.
    let rows = steps
        .iter()
        .map(|(at, fix, revision, _)| position(tenant.id, "e", *at, fix, *revision))
        .collect();
    rig.store
        .project(&authority(), batch(7, 8, rows, vec![]))
        .await
        .unwrap();
    assert_eq!(latest(&rig, &scope, "e").await, Some((11, "a".into(), 0)));
}

fn session(tenant: TenantId, state: SessionState, revision: i64) -> SessionRow {
    SessionRow {
        tenant,
        device: "d".parse().unwrap(),
        session: "s".parse().unwrap(),
        state,
        revision,
        started_at: None,
        stopped_at: None,
        last_fix_at: None,
        fixes: 0,
        distance_m: 0.0,
        duration_s: 0.0,
        attributes: None,
    }
}

async fn a_session_keeps_what_a_newer_event_does_not_say(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let attributes = Some(r#"{"trip":"1"}"#.to_owned());
    let started = SessionRow {
        started_at: Some(100),
        attributes,
        ..session(tenant.id, SessionState::Started, 0)
    };
    let updated = SessionRow {
        last_fix_at: Some(150),
        fixes: 3,
        distance_m: 12.5,
        duration_s: 50.0,
        ..session(tenant.id, SessionState::Updated, 4)
    };
    let stopped = SessionRow {
        stopped_at: Some(200),
        fixes: 5,
        distance_m: 20.25,
        duration_s: 100.0,
        ..session(tenant.id, SessionState::Stopped, 0)
    };
    let old = SessionRow {
        fixes: 1,
        ..session(tenant.id, SessionState::Updated, 3)
    };
    rig.store
        .project(
            &authority(),
            batch(0, 1, vec![], vec![updated.clone(), started.clone()]),
        )
        .await
        .unwrap();
    rig.store
        .project(&authority(), batch(1, 2, vec![], vec![stopped]))
        .await
        .unwrap();
    rig.store
        .project(&authority(), batch(2, 3, vec![], vec![old]))
        .await
        .unwrap();
    let id: SessionId = "s".parse().unwrap();
    let found = rig
        .store
        .sessions(&scope)
        .find(None, &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.state, SessionState::Stopped);
    assert_eq!(
        (found.started_at, found.stopped_at, found.last_fix_at),
        (Some(100), Some(200), Some(150))
    );
    assert_eq!(
        (found.fixes, found.distance_m, found.duration_s),
        (5, 20.25, 100.0)
    );
    assert_eq!(found.attributes["trip"], "1");
    let device: DeviceId = "d".parse().unwrap();
    assert_eq!(
        rig.store
            .sessions(&scope)
            .find(Some(&device), &id)
            .await
            .unwrap()
            .as_ref(),
        Some(&found)
    );
    assert_eq!(
        rig.store
            .sessions(&scope)
            .of_device(&device, None, 5)
            .await
            .unwrap(),
        [found]
    );
    assert_eq!(
        rig.store.sessions(&other).find(None, &id).await.unwrap(),
        None
    );
    let elsewhere: DeviceId = "e".parse().unwrap();
    assert_eq!(
        rig.store
            .sessions(&scope)
            .find(Some(&elsewhere), &id)
            .await
            .unwrap(),
        None
    );
}

async fn large_batches_are_written_whole(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let rows = (0..2000)
        .map(|i| position(tenant.id, &format!("d{i}"), 1, "a", 0))
        .collect();
    rig.store
        .project(&authority(), batch(0, 2000, rows, vec![]))
        .await
        .unwrap();
    for device in ["d0", "d255", "d256", "d1999"] {
        assert!(latest(&rig, &scope, device).await.is_some(), "{device}");
    }
}

async fn of_two_members_that_write_the_same_batch_neither_loses_or_goes_back(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let write = |to: u64, at: i64| {
        let store = rig.store.clone();
        let rows = vec![position(tenant.id, "d", at, "a", 0)];
        tokio::spawn(async move {
            store
                .project(&authority(), batch(0, to, rows, vec![]))
                .await
        })
    };
    let (one, two) = (write(5, 1), write(7, 2));
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
    let at = rig.store.projected(&authority(), 1, 3).await.unwrap();
    assert_eq!(at.least(), Some(7));
    assert_eq!(latest(&rig, &scope, "d").await, Some((2, "a".into(), 0)));
}
