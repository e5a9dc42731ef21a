use laneway_tenancy::control::{FormerSlug, GrantBody};
use laneway_tenancy::{Claim, Placement};

use super::*;

fn event(version: i64, kind: ControlKind, id: &str, deleted: bool, body: String) -> TenantEvent {
    TenantEvent {
        tenant_id: TenantId::from_u128(1).to_string(),
        version,
        kind,
        id: id.to_owned(),
        deleted,
        effective_from: 0,
        body,
    }
}

fn device(version: i64, id: &str, since: i64, deleted: bool) -> TenantEvent {
    let body = serde_json::to_string(&DeviceBody {
        since,
        disabled: false,
    })
    .unwrap();
    event(version, ControlKind::Device, id, deleted, body)
}

fn tenant(version: i64, slug: &str, deleted: bool) -> TenantEvent {
    let placement = Placement {
        generation: 1,
        partitions: 4,
        lanes: vec![1],
    };
    let body = TenantBody::plain(slug, placement);
    let id = TenantId::from_u128(1).to_string();
    let body = serde_json::to_string(&body).unwrap();
    event(version, ControlKind::Tenant, &id, deleted, body)
}

#[test]
fn a_change_that_comes_again_changes_nothing_and_is_no_news() {
    let directory = Directory::new();
    let mut news = directory.changes();
    let id = TenantId::from_u128(1);
    let run = [
        tenant(1, "acme", false),
        device(2, "truck", 2, false),
        device(3, "truck", 2, true),
        tenant(4, "acme", true),
    ];
    for change in run.iter().chain(&run) {
        directory.apply(change).unwrap();
        assert_eq!(
            directory.device_known(id, "truck", directory.version(id)),
            directory.version(id) == 2
        );
    }
    assert_eq!(
        std::iter::from_fn(|| news.try_recv().ok()).count(),
        run.len()
    );
    assert!(directory.device_known(id, "truck", 2));
    assert!(!directory.device_known(id, "truck", 3));
}

#[tokio::test]
async fn a_version_is_read_once_nothing_is_missing_below_it() {
    let id = TenantId::from_u128(1);
    let directory = Directory::new();
    directory.apply(&tenant(1, "acme", false)).unwrap();
    directory.apply(&device(2, "van", 2, false)).unwrap();
    assert_eq!((directory.version(id), directory.has_gaps()), (2, false));
    // What registered the truck, 3, was replaced by its change, 5.
    let other = event(4, ControlKind::Other, "x", false, String::new());
    directory.apply(&other).unwrap();
    assert_eq!((directory.version(id), directory.has_gaps()), (2, true));
    assert!(!directory.device_known(id, "truck", 4));
    directory.apply(&device(5, "truck", 3, false)).unwrap();
    assert_eq!(directory.version(id), 2, "there may be more to come");
    let waiting = directory.wait_for(id, 4);
    let filling = async { directory.fill_gaps() };
    tokio::join!(waiting, filling);
    assert_eq!((directory.version(id), directory.has_gaps()), (5, false));
    assert!(directory.device_known(id, "truck", 4) && !directory.device_known(id, "truck", 2));
    directory.apply(&device(6, "truck", 3, false)).unwrap();
    assert_eq!(directory.version(id), 6);
}

#[test]
fn a_registration_is_told_from_a_change_of_what_is_there() {
    let directory = Directory::new();
    let mut news = directory.changes();
    let run = [
        device(1, "truck", 1, false),
        device(2, "truck", 1, false),
        device(3, "truck", 1, true),
        device(4, "truck", 4, false),
    ];
    let registers: Vec<bool> = run
        .iter()
        .map(|change| {
            directory.apply(change).unwrap();
            news.try_recv().unwrap().registers
        })
        .collect();
    assert_eq!(registers, [true, false, false, true]);
}

#[test]
fn a_deleted_tenant_is_none_any_more_but_is_remembered_with_its_lanes() {
    let directory = Directory::new();
    let id = TenantId::from_u128(1);
    // Its creation was compacted away.
    directory.apply(&tenant(7, "acme", true)).unwrap();
    assert_eq!(directory.tenant(id), None);
    let ever = directory.tenant_ever(id).unwrap();
    assert_eq!(ever.deleted_at, Some(7));
    assert_eq!(ever.body.placement.lanes, [1]);
}

#[test]
fn removed_devices_are_remembered_up_to_a_bound_the_newest_longest() {
    let directory = Directory::new();
    let id = TenantId::from_u128(1);
    directory.apply(&device(1, "stays", 1, false)).unwrap();
    let removed = i64::try_from(MAX_GONE).unwrap() + 1;
    for n in 1..=removed {
        directory
            .apply(&device(2 * n, &n.to_string(), 2 * n - 1, true))
            .unwrap();
    }
    let kept = |n: i64| directory.device_known(id, &n.to_string(), 2 * n - 1);
    assert!(!kept(1) && kept(removed) && kept(removed / 2 + 2));
    assert!(directory.device_known(id, "stays", 2 * removed));
    let remembered = directory.read(|tenants| tenants[&id].devices.len());
    assert!(remembered <= MAX_GONE / 2 + 2, "{remembered} are kept");
}

#[test]
fn each_life_of_a_device_has_a_key_of_its_own() {
    let key = |change| crate::record_key(&change).unwrap();
    let first = key(device(2, "truck", 2, false));
    assert_eq!(first, key(device(3, "truck", 2, true)));
    assert_ne!(first, key(device(4, "truck", 4, false)));
    assert_eq!(key(tenant(1, "a", false)), key(tenant(5, "a", true)));
}

fn host(version: i64, id: &str, state: HostState, deleted: bool) -> TenantEvent {
    let body = HostBody {
        state,
        certificate: false,
    };
    let body = serde_json::to_string(&body).unwrap();
    event(version, ControlKind::Host, id, deleted, body)
}

#[test]
fn a_tenant_is_named_by_its_slug_and_by_its_hosts_while_they_are_live() {
    let directory = Directory::new();
    let id = TenantId::from_u128(1);
    let claim = |name: &str| directory.hosts().of_host(Some(name.as_bytes()));
    let apply = |change: TenantEvent| directory.apply(&change).unwrap();
    apply(tenant(1, "acme", false));
    assert_eq!(directory.hosts().of_slug("acme"), Claim::Tenant(id));
    apply(tenant(2, "acme-two", false));
    assert_eq!(directory.hosts().of_slug("acme"), Claim::Unknown);
    assert_eq!(directory.hosts().of_slug("acme-two"), Claim::Tenant(id));

    apply(host(3, "a.acme.example", HostState::Live, false));
    apply(host(4, "*.b.acme.example", HostState::Live, false));
    assert_eq!(claim("a.acme.example"), Claim::Tenant(id));
    assert_eq!(claim("x.b.acme.example"), Claim::Tenant(id));
    apply(host(5, "a.acme.example", HostState::Failing, false));
    apply(host(6, "*.b.acme.example", HostState::Live, true));
    assert_eq!(claim("a.acme.example"), Claim::Nothing);
    assert_eq!(claim("x.b.acme.example"), Claim::Nothing);
    apply(tenant(7, "acme-two", true));
    assert_eq!(directory.hosts().of_slug("acme-two"), Claim::Unknown);
}

#[test]
fn a_change_of_a_kind_that_is_not_known_counts_and_changes_nothing() {
    let directory = Directory::new();
    let unknown = event(1, ControlKind::Other, "x", false, "[]".to_owned());
    directory.apply(&unknown).unwrap();
    assert_eq!(directory.version(TenantId::from_u128(1)), 1);
}

fn renamed(version: i64, slug: &str, former: &[&str]) -> TenantEvent {
    let placement = Placement {
        generation: 1,
        partitions: 4,
        lanes: vec![1],
    };
    let had = |slug: &&str| FormerSlug {
        slug: (*slug).to_owned(),
        until: 100,
    };
    let body = TenantBody {
        former: former.iter().map(had).collect(),
        ..TenantBody::plain(slug, placement)
    };
    let id = TenantId::from_u128(1).to_string();
    let body = serde_json::to_string(&body).unwrap();
    event(version, ControlKind::Tenant, &id, false, body)
}

#[test]
fn a_former_slug_leads_to_the_present_one_until_it_is_given_up() {
    let directory = Directory::new();
    let leads = |slug: &str, now| {
        let found = directory.hosts().of_former_slug(slug, now);
        found.map(|renamed| renamed.slug.to_string())
    };
    // As a node that starts now reads it: earlier records of the tenant are compacted away.
    let last = renamed(7, "third", &["second", "first"]);
    directory.apply(&last).unwrap();
    assert_eq!(leads("first", 99).as_deref(), Some("third"));
    assert_eq!(leads("second", 99).as_deref(), Some("third"));
    assert_eq!(leads("second", 100), None, "its time is over");
    assert_eq!(leads("third", 99), None);
    directory.apply(&renamed(8, "first", &["third"])).unwrap();
    assert_eq!((leads("first", 99), leads("second", 99)), (None, None));
    assert_eq!(leads("third", 99).as_deref(), Some("first"));
}

#[test]
fn a_grant_is_its_tenants_alone_and_goes_with_it() {
    let directory = Directory::new();
    let (id, other) = (TenantId::from_u128(1), TenantId::from_u128(2));
    let grant = GrantId::from_u128(7);
    let body = GrantBody {
        partner: other,
        event_types: vec!["laneway.position".to_owned()],
        devices: vec![],
        expires_at: 1,
    };
    let body = serde_json::to_string(&body).unwrap();
    let text = grant.to_string();
    let granted = event(2, ControlKind::Grant, &text, false, body.clone());
    directory.apply(&tenant(1, "acme", false)).unwrap();
    directory.apply(&granted).unwrap();
    assert_eq!(directory.grant(grant).unwrap().tenant, id);
    for deleted in [false, true] {
        let foreign = TenantEvent {
            tenant_id: other.to_string(),
            ..event(1, ControlKind::Grant, &text, deleted, body.clone())
        };
        assert!(directory.apply(&foreign).is_err());
        assert_eq!(directory.grant(grant).unwrap().tenant, id);
    }
    let revoked = event(3, ControlKind::Grant, &text, true, "{}".to_owned());
    directory.apply(&revoked).unwrap();
    assert_eq!(directory.grant(grant), None);
    let again = event(4, ControlKind::Grant, &text, false, body);
    directory.apply(&again).unwrap();
    let mut closed: TenantBody = serde_json::from_str(&tenant(5, "acme", false).body).unwrap();
    closed.state = TenantState::Closed;
    let closed = serde_json::to_string(&closed).unwrap();
    let closed = event(5, ControlKind::Tenant, &id.to_string(), false, closed);
    directory.apply(&closed).unwrap();
    assert_eq!(directory.grant(grant), None);
}
