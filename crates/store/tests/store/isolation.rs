//! Everything that begins at a scope, with the same ids in two tenants: one finds, changes and
//! deletes nothing of the other's.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use laneway_schemas::Registry;
use laneway_store::audit::{AuditQuery, Facts, Personal};
use laneway_store::{
    AccountChange, KeyChange, KeyRotation, NewAccount, NewDestination, NewGrant, NewSecret,
    PositionRow, ProjectionBatch, ProvisioningTerms, SessionRow, SessionState, Store,
};
use laneway_tenancy::control::{DestinationBody, DestinationState, GrantBody, TenantKind};
use laneway_tenancy::{
    AccountId, CredentialId, DestinationId, DeviceDetails, Grant, GrantId, Grants, HostPattern,
    KeyId, ProvisioningKeyId, TenantScope,
};
use laneway_testkit::Database;

use crate::support::{NOW, authority, below, device, new_key, sharded};

laneway_testkit::on_both_databases!(
    a_tenant_finds_nothing_of_anothers_under_the_same_ids,
    what_a_tenant_changes_and_deletes_is_its_own_under_the_same_ids,
);

const CREDENTIAL: u128 = 1;
const KEY: u128 = 2;
const DESTINATION: u128 = 3;

/// What a scope sees through one accessor of the store, as text.
type Look = for<'a> fn(&'a Store, &'a TenantScope) -> BoxFuture<'a, Vec<String>>;
/// Tries to change or delete through one; whether it could.
type Try = for<'a> fn(&'a Store, &'a TenantScope) -> BoxFuture<'a, bool>;

fn seen<T: std::fmt::Debug>(found: Option<T>) -> Vec<String> {
    found.into_iter().map(|one| format!("{one:?}")).collect()
}

fn all_seen<T: std::fmt::Debug>(found: Vec<T>) -> Vec<String> {
    found.into_iter().map(|one| format!("{one:?}")).collect()
}

/// Each accessor that takes a scope, and every way to read through it.
const LOOKS: &[(&str, Look)] = &[
    ("devices", |s, t| {
        async { seen(s.devices(t).find(&device("truck")).await.unwrap()) }.boxed()
    }),
    ("devices", |s, t| {
        async { all_seen(s.devices(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("config", |s, t| {
        async { seen(s.config(t).find("theme").await.unwrap()) }.boxed()
    }),
    ("config", |s, t| {
        async { all_seen(s.config(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("credentials", |s, t| {
        async { all_seen(s.credentials(t).of_device(&device("truck")).await.unwrap()) }.boxed()
    }),
    ("provisioning_keys", |s, t| {
        async { all_seen(s.provisioning_keys(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("grants", |s, t| {
        async { all_seen(s.grants(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("grants", |s, t| {
        let id = GrantId::from_u128(KEY);
        async move { seen(s.grants(t).find(id).await.unwrap()) }.boxed()
    }),
    ("granted", |s, t| {
        async { all_seen(s.granted(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("hosts", |s, t| {
        async { all_seen(s.hosts(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("hosts", |s, t| {
        let host: HostPattern = "tracks.example.com".parse().unwrap();
        async move { seen(s.hosts(t).find(&host).await.unwrap()) }.boxed()
    }),
    ("keys", |s, t| {
        async { all_seen(s.keys(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("keys", |s, t| {
        async { seen(s.keys(t).find(KeyId::from_u128(KEY)).await.unwrap()) }.boxed()
    }),
    ("service_accounts", |s, t| {
        async { all_seen(s.service_accounts(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("service_accounts", |s, t| {
        let id = AccountId::from_u128(KEY);
        async move { seen(s.service_accounts(t).find(id).await.unwrap()) }.boxed()
    }),
    ("destinations", |s, t| {
        let id = DestinationId::from_u128(DESTINATION);
        async move { seen(s.destinations(t).find(id).await.unwrap()) }.boxed()
    }),
    ("destinations", |s, t| {
        async { all_seen(s.destinations(t).list(None, 100).await.unwrap()) }.boxed()
    }),
    ("destinations", |s, t| {
        let id = DestinationId::from_u128(DESTINATION);
        async move { seen(s.destinations(t).secret(id).await.unwrap()) }.boxed()
    }),
    ("positions", |s, t| {
        async { seen(s.positions(t).latest(&device("truck")).await.unwrap()) }.boxed()
    }),
    ("sessions", |s, t| {
        let session = "trip".parse().unwrap();
        async move { seen(s.sessions(t).find(None, &session).await.unwrap()) }.boxed()
    }),
    ("sessions", |s, t| {
        async {
            let sessions = s.sessions(t);
            all_seen(sessions.of_device(&device("truck"), None, 9).await.unwrap())
        }
        .boxed()
    }),
    ("audit", |s, t| {
        async {
            let query = AuditQuery {
                limit: 100,
                action: "POST /devices".into(),
                ..AuditQuery::default()
            };
            all_seen(s.audit(t).list(&query).await.unwrap())
        }
        .boxed()
    }),
    ("tenant_schemas", |s, t| {
        async { all_seen(s.tenant_schemas(t).versions("own").await.unwrap()) }.boxed()
    }),
    ("family", |s, t| {
        async {
            let family = s.family(t);
            let found = family.list(TenantKind::Tenant, None, 100).await.unwrap();
            all_seen(found)
        }
        .boxed()
    }),
];

/// What hangs on a device goes before it.
const TRIES: &[(&str, Try)] = &[
    ("credentials", |s, t| {
        let id = CredentialId::from_u128(CREDENTIAL);
        async move {
            let credentials = s.credentials(t);
            credentials.delete(&device("truck"), id, NOW).await.is_ok()
        }
        .boxed()
    }),
    ("credentials", |s, t| {
        let secret = NewSecret::Token([9; 32]);
        let id = CredentialId::from_u128(77);
        async move {
            let (credentials, truck) = (s.credentials(t), device("truck"));
            credentials.create(id, &truck, secret, NOW).await.is_ok()
        }
        .boxed()
    }),
    ("keys", |s, t| {
        let change = KeyChange::default();
        async {
            let keys = s.keys(t);
            let changed = keys.change(KeyId::from_u128(KEY), None, change, NOW);
            changed.await.is_ok()
        }
        .boxed()
    }),
    ("keys", |s, t| {
        let rotation = KeyRotation {
            token_hash: [201; 32],
            former_until: NOW,
            expires_at: None,
        };
        async {
            let keys = s.keys(t);
            let rotated = keys.rotate(KeyId::from_u128(KEY), None, rotation, NOW);
            rotated.await.is_ok()
        }
        .boxed()
    }),
    ("keys", |s, t| {
        async { s.keys(t).delete(KeyId::from_u128(KEY), NOW).await.is_ok() }.boxed()
    }),
    ("service_accounts", |s, t| {
        let (id, change) = (AccountId::from_u128(KEY), AccountChange::default());
        async move {
            let accounts = s.service_accounts(t);
            accounts.change(id, None, change, NOW).await.is_ok()
        }
        .boxed()
    }),
    ("service_accounts", |s, t| {
        let id = AccountId::from_u128(KEY);
        async move { s.service_accounts(t).delete(id, NOW).await.is_ok() }.boxed()
    }),
    ("destinations", |s, t| {
        let id = DestinationId::from_u128(DESTINATION);
        async move {
            let destinations = s.destinations(t);
            let changed = destinations.set_state(id, None, DestinationState::Disabled, NOW);
            changed.await.is_ok()
        }
        .boxed()
    }),
    ("destinations", |s, t| {
        let id = DestinationId::from_u128(DESTINATION);
        async move { s.destinations(t).delete(id, NOW).await.is_ok() }.boxed()
    }),
    ("provisioning_keys", |s, t| {
        let id = ProvisioningKeyId::from_u128(KEY);
        async move { s.provisioning_keys(t).delete(id, NOW).await.is_ok() }.boxed()
    }),
    ("grants", |s, t| {
        let id = GrantId::from_u128(KEY);
        async move { s.grants(t).delete(id, NOW).await.is_ok() }.boxed()
    }),
    ("hosts", |s, t| {
        let host: HostPattern = "tracks.example.com".parse().unwrap();
        async move { s.hosts(t).delete(&host, NOW).await.is_ok() }.boxed()
    }),
    ("config", |s, t| {
        async { s.config(t).delete("theme", NOW).await.is_ok() }.boxed()
    }),
    ("audit", |s, t| {
        async { s.audit(t).erase_personal("key:1").await.unwrap() > 0 }.boxed()
    }),
    ("devices", |s, t| {
        async { s.devices(t).delete(&device("truck"), NOW).await.is_ok() }.boxed()
    }),
];

/// Gives a tenant one of everything, under ids that are the same in every tenant.
pub async fn furnish(store: &Store, scope: &TenantScope, n: u8) {
    let tenant = scope.tenant();
    let truck = device("truck");
    store.devices(scope).create(&truck, NOW).await.unwrap();
    let id = CredentialId::from_u128(CREDENTIAL);
    let secret = NewSecret::Token([n; 32]);
    let credentials = store.credentials(scope);
    credentials.create(id, &truck, secret, NOW).await.unwrap();
    let (id, grants) = (KeyId::from_u128(KEY), Grants::of([Grant::StreamRead]));
    let key = new_key(id, grants, [n + 100; 32]);
    store.keys(scope).create(key, NOW).await.unwrap();
    let account = NewAccount {
        id: AccountId::from_u128(KEY),
        name: format!("account {n}"),
        role: None,
        grants,
    };
    let accounts = store.service_accounts(scope);
    accounts.create(account, NOW).await.unwrap();
    let new = NewDestination {
        id: DestinationId::from_u128(DESTINATION),
        body: DestinationBody {
            kind: "webhook".into(),
            state: DestinationState::Active,
            event_types: vec![],
            devices: vec![],
            created_at: NOW,
        },
        url: format!("https://example.com/{n}"),
        secret: format!("whsec_{n}"),
    };
    store.destinations(scope).create(new).await.unwrap();
    let batch = ProjectionBatch {
        generation: 1,
        partition: u32::from(n),
        from_offset: 0,
        to_offset: 2,
        positions: vec![PositionRow {
            tenant,
            device: truck.clone(),
            received_at: NOW,
            recorded_at: NOW,
            fix_id: "fix".into(),
            revision: 0,
            body: format!(r#"{{"of":{n}}}"#),
        }],
        sessions: vec![SessionRow {
            tenant,
            device: truck,
            session: "trip".parse().unwrap(),
            state: SessionState::Started,
            revision: 1,
            started_at: Some(NOW + i64::from(n)),
            stopped_at: None,
            last_fix_at: None,
            fixes: 1,
            distance_m: 0.0,
            duration_s: 0.0,
            attributes: None,
        }],
    };
    store.project(&authority(), batch).await.unwrap();
    let id = ProvisioningKeyId::from_u128(KEY);
    let terms = ProvisioningTerms {
        name: "line".into(),
        pattern: "truck-*".into(),
        details: DeviceDetails::default(),
        max_uses: 0,
        expires_at: None,
    };
    let provisioning = store.provisioning_keys(scope);
    let created = provisioning.create(id, terms, [n + 150; 32], NOW).await;
    created.unwrap();
    let new = NewGrant {
        id: GrantId::from_u128(KEY),
        name: "g".into(),
        body: GrantBody {
            partner: tenant,
            event_types: vec!["laneway.position".into()],
            devices: vec![],
            expires_at: NOW,
        },
    };
    store.grants(scope).create(new, NOW).await.unwrap();
    let host: HostPattern = "tracks.example.com".parse().unwrap();
    let hosts = store.hosts(scope);
    hosts.register(&host, "t", 10, NOW).await.unwrap();
    let theme = serde_json::json!(n);
    let config = store.config(scope);
    config.set("theme", theme, None, NOW).await.unwrap();
    let facts = Facts {
        at: NOW,
        action: "POST /devices".into(),
        principal: "key:1".into(),
        count: 1,
        ..Facts::default()
    };
    let personal = Personal {
        address: Some(format!("192.0.2.{n}")),
        ..Personal::default()
    };
    store.audit(scope).append(facts, &personal).await.unwrap();
    let below = below(store, scope, &format!("below-{n}")).await;
    assert_eq!(below.body.parent, Some(tenant));
    let schema = format!(r#"{{"type":"fixed","size":{},"name":"x"}}"#, n + 1);
    let subject = if n == 1 { "own" } else { "another" };
    let schemas = store.tenant_schemas(scope);
    schemas.register(subject, &schema).await.unwrap();
}

async fn look(store: &Store, scope: &TenantScope) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (_, look) in LOOKS {
        all.push(look(store, scope).await);
    }
    all
}

/// Databases of two tenants: one for both, each one's own, or the main one.
const PLACES: [[&str; 2]; 4] = [
    ["main", "main"],
    ["eu", "eu"],
    ["eu", "main"],
    ["bank", "eu"],
];

async fn a_tenant_finds_nothing_of_anothers_under_the_same_ids(database: Database) {
    for [there, here] in PLACES {
        let rig = sharded(database).await;
        let (_, theirs) = rig.tenant("theirs", there).await;
        let (_, mine) = rig.tenant("mine", here).await;
        furnish(&rig.store, &theirs, 1).await;
        let before = look(&rig.store, &theirs).await;
        for (name, look) in LOOKS {
            let found = look(&rig.store, &mine).await;
            assert_eq!(found, Vec::<String>::new(), "{name}, {there} and {here}");
        }
        for (name, attempt) in TRIES {
            assert!(
                !attempt(&rig.store, &mine).await,
                "{name}, {there} and {here}"
            );
        }
        assert_eq!(look(&rig.store, &theirs).await, before);
    }
}

async fn what_a_tenant_changes_and_deletes_is_its_own_under_the_same_ids(database: Database) {
    for [there, here] in PLACES {
        let rig = sharded(database).await;
        let (_, theirs) = rig.tenant("theirs", there).await;
        let (_, mine) = rig.tenant("mine", here).await;
        furnish(&rig.store, &theirs, 1).await;
        furnish(&rig.store, &mine, 2).await;
        let before = look(&rig.store, &theirs).await;
        let own = look(&rig.store, &mine).await;
        for ((name, _), (theirs, mine)) in LOOKS.iter().zip(before.iter().zip(&own)) {
            if *name != "tenant_schemas" {
                assert_eq!(
                    (theirs.len(), mine.len()),
                    (1, 1),
                    "{name}, {there} and {here}"
                );
            }
        }
        for (name, attempt) in TRIES {
            assert!(
                attempt(&rig.store, &mine).await,
                "{name}, {there} and {here}"
            );
        }
        assert_eq!(look(&rig.store, &theirs).await, before);
    }
}

/// Has no ids of its own, and a suite of its own.
const ELSEWHERE: [&str; 1] = ["usage"];

/// An accessor that is new has to be in the tables above.
#[test]
fn every_accessor_that_takes_a_scope_is_looked_through() {
    let source = include_str!("../../src/open.rs");
    let mut accessors = 0;
    for function in source.split("pub fn ").skip(1) {
        let head = function.split('{').next().unwrap_or_default();
        if head.contains("TenantScope") {
            let end = head.find(['<', '(']).unwrap();
            let name = &head[..end];
            let looked = LOOKS.iter().any(|(looked, _)| *looked == name);
            assert!(looked || ELSEWHERE.contains(&name), "{name}");
            accessors += 1;
        }
    }
    assert!(accessors >= 9, "{accessors} accessors");
}
