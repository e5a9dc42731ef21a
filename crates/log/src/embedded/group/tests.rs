use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);
const LANES: Range<u32> = 0..2;

fn member(groups: &Groups, instance: &str) -> MemberId {
    let spec = GroupSpec::new("g", &[Topic::LocationUpdates], instance);
    let id = groups.new_member(&spec);
    groups
        .join(&id, &spec.topics, LANES, &Arc::new(Notify::new()))
        .expect("joining");
    id
}

fn assigned(groups: &Groups, id: &MemberId) -> (Vec<u32>, Epoch) {
    match groups.poll(id) {
        Polled::Notice(Notice::Assigned { partitions, epoch }) => (partitions, epoch),
        other => panic!("{other:?} instead of an assignment"),
    }
}

fn revoked(groups: &Groups, id: &MemberId) -> u64 {
    match groups.poll(id) {
        Polled::Notice(Notice::Revoked { round, .. }) => round,
        other => panic!("{other:?} instead of a revocation"),
    }
}

#[test]
fn every_partition_has_one_owner() {
    for partitions in 1..20 {
        for members in 1..25 {
            let all: Vec<u32> = (0..members)
                .flat_map(|i| range_of(i, members, &(7..7 + partitions)))
                .collect();
            assert_eq!(all, (7..7 + partitions).collect::<Vec<_>>());
        }
    }
}

#[test]
fn partitions_move_only_after_the_old_owner_and_its_units_are_done() {
    let groups = Groups::new(TIMEOUT);
    let a = member(&groups, "a");
    let (all, epoch) = assigned(&groups, &a);
    assert_eq!(all, [0, 1]);
    groups
        .admit(&a, epoch, &[(Topic::LocationUpdates, 1, 9)])
        .expect("the owner commits");
    let b = member(&groups, "b");
    assert_eq!(groups.poll(&b), Polled::Nothing);
    let round = revoked(&groups, &a);
    groups
        .admit(&a, epoch, &[])
        .expect("commits are possible until the answer");
    groups.finish(&a, epoch, &[], true);
    groups.revoked(&a, round);
    assert_eq!(
        groups.poll(&b),
        Polled::Nothing,
        "a unit is still on its way"
    );
    groups.finish(&a, epoch, &[(Topic::LocationUpdates, 1, 9)], true);
    assert_eq!(assigned(&groups, &b).0, [1]);
    assert_eq!(groups.committed("g", Topic::LocationUpdates, 1), Some(9));
    assert_eq!(assigned(&groups, &a).0, [0]);
    assert!(
        groups.admit(&a, epoch, &[]).is_err(),
        "the old epoch is over"
    );
}

#[test]
fn a_silent_member_is_expelled_and_may_come_back() {
    let groups = Groups::new(TIMEOUT);
    let a = member(&groups, "a");
    let (_, epoch) = assigned(&groups, &a);
    let b = member(&groups, "b");
    let now = Instant::now();
    assert!(groups.expire(now).is_some());
    assert_eq!(groups.expire(now + TIMEOUT * 2), None);
    assert_eq!(assigned(&groups, &b).0, [0, 1]);
    assert_eq!(groups.poll(&a), Polled::Expelled);
    assert!(groups.admit(&a, epoch, &[]).is_err());
    groups
        .join(
            &a,
            &[Topic::LocationUpdates],
            LANES,
            &Arc::new(Notify::new()),
        )
        .expect("coming back");
    groups.revoked(&b, revoked(&groups, &b));
    assert_eq!(assigned(&groups, &a).0, [0]);
}

#[test]
fn a_second_member_of_the_same_name_fences_the_first() {
    let groups = Groups::new(TIMEOUT);
    let old = member(&groups, "a");
    let (_, epoch) = assigned(&groups, &old);
    let new = member(&groups, "a");
    assert!(groups.admit(&old, epoch, &[]).is_err());
    assert_eq!(groups.poll(&old), Polled::Replaced);
    let (all, epoch) = assigned(&groups, &new);
    assert_eq!(all, [0, 1]);
    groups.leave(&old);
    groups
        .admit(&new, epoch, &[])
        .expect("the old one's leaving changes nothing");
}

#[test]
fn nothing_of_an_epoch_follows_a_failed_unit() {
    let groups = Groups::new(TIMEOUT);
    let a = member(&groups, "a");
    let (_, epoch) = assigned(&groups, &a);
    groups.admit(&a, epoch, &[]).expect("the owner commits");
    groups.finish(&a, epoch, &[], false);
    assert!(groups.admit(&a, epoch, &[]).is_err());
}
