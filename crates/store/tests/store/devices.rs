//! Devices: many at a time, within the tenant's limit, found by what is said of them.

use crate::support::{NOW, Rig, authority, device, operator, rig};
use laneway_schemas::ControlKind;
use laneway_store::{
    DeviceChange, DeviceFilter, NewDevice, NewToken, PositionRow, ProjectionBatch, Registered,
    StoreCredentials, StoreError,
};
use laneway_tenancy::control::Limits;
use laneway_tenancy::{
    CredentialId, CredentialSource, DeviceDetails, StoredPrincipal, TenantId, TenantScope,
};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    many_are_registered_at_once_with_versions_that_follow_one_another,
    the_limit_holds_however_many_register_at_a_time,
    a_token_comes_with_its_device,
    devices_are_found_by_group_label_and_state,
    a_change_is_made_for_what_was_read,
    a_late_fix_is_seen_without_being_the_latest,
);

pub fn new(id: &str, details: DeviceDetails) -> NewDevice {
    NewDevice {
        id: device(id),
        details,
        token: None,
    }
}

fn plain(id: &str) -> NewDevice {
    new(id, DeviceDetails::default())
}

pub async fn limit(rig: &Rig, tenant: TenantId, devices: u32) {
    let limits = Limits {
        devices,
        ..Limits::default()
    };
    rig.store
        .tenants(&operator())
        .set_limits(tenant, limits, NOW)
        .await
        .unwrap();
}

async fn count(rig: &Rig, scope: &TenantScope) -> usize {
    rig.store
        .devices(scope)
        .list(None, 1000)
        .await
        .unwrap()
        .len()
}

async fn many_are_registered_at_once_with_versions_that_follow_one_another(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    rig.store
        .devices(&scope)
        .create(&device("d0007"), NOW)
        .await
        .unwrap();
    let mut all: Vec<NewDevice> = (0..600).map(|n| plain(&format!("d{n:04}"))).collect();
    all.push(plain("d0000"));
    let outcomes = rig
        .store
        .devices(&scope)
        .register_many(&all, NOW)
        .await
        .unwrap();
    assert_eq!(outcomes[7], Registered::Exists);
    assert_eq!(outcomes[600], Registered::Exists, "named twice");
    assert_eq!(outcomes[0], Registered::Created { since: 3 });
    assert_eq!(outcomes[8], Registered::Created { since: 10 });
    assert_eq!(count(&rig, &scope).await, 600);
    let rows = rig.store.outbox(&authority()).oldest(1000).await.unwrap();
    let seen: Vec<(i64, &str)> = rows
        .iter()
        .filter(|row| row.kind == ControlKind::Device)
        .map(|row| (row.version, row.id.as_str()))
        .collect();
    assert_eq!(seen.len(), 600);
    assert_eq!((seen[0], seen[1]), ((2, "d0007"), (3, "d0000")));
    assert!(seen.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    assert_eq!(rows.last().unwrap().body, r#"{"since":601}"#);
    rig.store.outbox(&authority()).relayed(&rows).await.unwrap();
    assert_eq!(rig.versions(&scope).await, [0i64; 0]);
}

async fn the_limit_holds_however_many_register_at_a_time(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    limit(&rig, tenant.id, 50).await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (store, scope) = (rig.store.clone(), scope.clone());
        tasks.push(tokio::spawn(async move {
            let devices = store.devices(&scope);
            let mut made = 0;
            for n in 0..10 {
                let id = format!("one-{task}-{n}");
                match devices.create(&device(&id), NOW).await {
                    Ok(_) => made += 1,
                    Err(StoreError::LimitReached { limit, most }) => {
                        assert_eq!((limit, most), ("devices", 50));
                    }
                    Err(error) => panic!("{error}"),
                }
                let many: Vec<_> = (0..5)
                    .map(|m| plain(&format!("many-{task}-{n}-{m}")))
                    .collect();
                let outcomes = devices.register_many(&many, NOW).await.unwrap();
                for outcome in outcomes {
                    match outcome {
                        Registered::Created { .. } => made += 1,
                        Registered::OverLimit { most } => assert_eq!(most, 50),
                        Registered::Exists => panic!("there is none"),
                    }
                }
            }
            made
        }));
    }
    let mut made = 0;
    for task in tasks {
        made += task.await.unwrap();
    }
    assert_eq!((made, count(&rig, &scope).await), (50, 50));
    // There is room again for each that goes.
    let first = rig.store.devices(&scope).list(None, 1).await.unwrap();
    let devices = rig.store.devices(&scope);
    devices.delete(&first[0].id, NOW).await.unwrap();
    assert!(devices.create(&device("another"), NOW).await.is_ok());
    assert!(devices.create(&device("one-more"), NOW).await.is_err());
}

async fn a_token_comes_with_its_device(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let mut with_token = plain("truck");
    with_token.token = Some(NewToken {
        credential: CredentialId::from_u128(7),
        hash: [7; 32],
    });
    let outcomes = rig
        .store
        .devices(&scope)
        .register_many(&[with_token, plain("van")], NOW)
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            Registered::Created { since: 2 },
            Registered::Created { since: 3 }
        ]
    );
    let credentials = StoreCredentials(rig.store.clone());
    let found = credentials.by_token([7; 32]).await.unwrap().unwrap();
    assert_eq!(
        found.principal,
        StoredPrincipal::Device {
            device: device("truck"),
            credential: CredentialId::from_u128(7),
            disabled: false
        }
    );
}

async fn devices_are_found_by_group_label_and_state(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let details = |group: &str, depot: &str| DeviceDetails {
        name: String::new(),
        group: group.into(),
        labels: [("depot".to_owned(), depot.to_owned())].into(),
    };
    let all = [
        new("a", details("north", "west")),
        new("b", details("north", "east")),
        new("c", details("south", "west")),
        new("d", details("north", "west")),
    ];
    for scope in [&scope, &other] {
        let made = rig.store.devices(scope).register_many(&all, NOW).await;
        assert_eq!(made.unwrap().len(), 4);
    }
    let disable = DeviceChange {
        disabled: Some(true),
        ..DeviceChange::default()
    };
    let changed: Result<_, StoreError> = rig
        .store
        .devices(&scope)
        .change(&device("d"), NOW, |_| Ok(disable))
        .await;
    assert!(changed.unwrap().disabled);
    let west = Some(("depot".to_owned(), "west".to_owned()));
    let north = Some("north".to_owned());
    for (group, label, disabled, after, expected) in [
        (None, None, None, None, "a b c d"),
        (north.clone(), None, None, None, "a b d"),
        (None, west.clone(), None, None, "a c d"),
        (north.clone(), west.clone(), None, None, "a d"),
        (north.clone(), west.clone(), None, Some("a"), "d"),
        (None, west.clone(), Some(false), None, "a c"),
        (None, None, Some(true), None, "d"),
        (north, west, Some(true), Some("d"), ""),
    ] {
        let filter = DeviceFilter {
            group,
            label,
            disabled,
        };
        let found = rig
            .store
            .devices(&scope)
            .select(&filter, after.map(device).as_ref(), 10)
            .await
            .unwrap();
        let ids: Vec<&str> = found.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(ids.join(" "), expected, "{filter:?}");
    }
}

async fn a_change_is_made_for_what_was_read(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let devices = rig.store.devices(&scope);
    let made = devices.create(&device("truck"), NOW).await.unwrap();
    assert_eq!((made.since, made.version), (2, 2));
    let change = DeviceChange {
        name: Some("Number 7".into()),
        labels: Some([("depot".to_owned(), "west".to_owned())].into()),
        ..DeviceChange::default()
    };
    let changed: Result<_, StoreError> = devices
        .change(&device("truck"), NOW, |_| Ok(change.clone()))
        .await;
    let changed = changed.unwrap();
    assert_eq!((changed.since, changed.version), (2, 3));
    assert_eq!(
        devices.find(&device("truck")).await.unwrap(),
        Some(changed.clone())
    );
    let refused: Result<_, StoreError> = devices
        .change(&device("truck"), NOW, |device| {
            Err(StoreError::Changed {
                what: device.details.name.clone(),
            })
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Changed { what }) if what == "Number 7"));
    let missing: Result<_, StoreError> = devices.change(&device("van"), NOW, |_| Ok(change)).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    assert_eq!(rig.versions(&scope).await, [1, 2, 3], "without a gap");
    devices.delete(&device("truck"), NOW).await.unwrap();
    let again = devices.create(&device("truck"), NOW).await.unwrap();
    assert!(again.details.labels.is_empty());
}

async fn a_late_fix_is_seen_without_being_the_latest(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    let row = |recorded_at, received_at| PositionRow {
        tenant: tenant.id,
        device: device("truck"),
        recorded_at,
        received_at,
        fix_id: "f".into(),
        revision: 0,
        body: format!("{{\"at\":{recorded_at}}}"),
    };
    // One that is written again, and was received before, changes nothing.
    let batches = [
        vec![row(50, 60)],
        vec![row(10, 90), row(20, 80)],
        vec![row(50, 60)],
    ];
    for (offset, positions) in (0..).zip(batches) {
        let batch = ProjectionBatch {
            generation: 1,
            from_offset: offset,
            to_offset: offset + 1,
            positions,
            ..Default::default()
        };
        rig.store.project(&authority(), batch).await.unwrap();
    }
    let seen = rig.store.devices(&scope).find(&device("truck")).await;
    let seen = seen.unwrap().unwrap().seen.unwrap();
    assert_eq!((seen.recorded_at, seen.received_at), (50, Some(90)));
    let latest = rig.store.positions(&scope).latest(&device("truck")).await;
    assert_eq!(latest.unwrap().unwrap().body, "{\"at\":50}");
}
