//! Hosts: whose they are, and what is kept of them.

use laneway_schemas::ControlKind;
use laneway_store::{HostProof, NewCertificate, StoreError};
use laneway_tenancy::HostPattern;
use laneway_tenancy::control::{HostBody, HostState};
use laneway_testkit::Database;

use crate::support::{NOW, Rig, authority, rig};

laneway_testkit::on_both_databases!(
    a_registration_keeps_nobody_away_and_a_live_host_is_one_tenants,
    a_host_that_fails_for_long_is_live_no_more_and_free,
    a_tenant_has_as_many_hosts_as_it_may_and_sees_no_others,
    keys_of_certificates_are_kept_encrypted_and_shown_of_live_hosts_alone,
);

const DAY: i64 = 86_400_000_000;

fn host(name: &str) -> HostPattern {
    name.parse().unwrap()
}

fn proof(at: i64, outcome: Result<(), &str>, stops: bool) -> HostProof {
    HostProof {
        at,
        next: at + DAY,
        outcome: outcome.map_err(str::to_owned),
        stops,
    }
}

/// What the outbox says of the hosts, in order.
async fn announced(rig: &Rig) -> Vec<(String, Option<HostState>)> {
    let rows = rig.store.outbox(&authority()).oldest(1000).await.unwrap();
    let hosts = rows.into_iter().filter(|r| r.kind == ControlKind::Host);
    hosts
        .map(|row| {
            let body = serde_json::from_str::<HostBody>(&row.body).ok();
            assert_eq!(body.is_none(), row.deleted);
            (row.id, body.map(|body| body.state))
        })
        .collect()
}

async fn a_registration_keeps_nobody_away_and_a_live_host_is_one_tenants(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    let name = host("tracks.acme.example");
    let (my_hosts, their_hosts) = (rig.store.hosts(&mine), rig.store.hosts(&theirs));
    let registered = my_hosts.register(&name, "a", 10, NOW).await.unwrap();
    assert_eq!(registered.state, HostState::Pending);
    their_hosts.register(&name, "b", 10, NOW).await.unwrap();
    let twice = my_hosts.register(&name, "c", 10, NOW).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })));

    // A proof that fails changes nothing but what is known of it.
    let failed = proof(NOW + 1, Err("no record"), true);
    let noted = my_hosts.note(&name, failed).await.unwrap();
    assert_eq!(noted.state, HostState::Pending);
    assert_eq!(noted.problem.as_deref(), Some("no record"));
    assert_eq!((noted.checked_at, noted.proved_at), (Some(NOW + 1), None));

    let live = their_hosts.note(&name, proof(NOW + 2, Ok(()), false)).await;
    assert_eq!(live.unwrap().state, HostState::Live);
    let taken = my_hosts.note(&name, proof(NOW + 3, Ok(()), false)).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
    assert_eq!(
        my_hosts.find(&name).await.unwrap().unwrap().state,
        HostState::Pending
    );
    their_hosts.delete(&name, NOW + 4).await.unwrap();
    let live = my_hosts.note(&name, proof(NOW + 5, Ok(()), false)).await;
    assert_eq!(live.unwrap().state, HostState::Live);
    // Proved again: nothing is new.
    let again = my_hosts.note(&name, proof(NOW + 6, Ok(()), false)).await;
    assert_eq!(again.unwrap().proved_at, Some(NOW + 6));
    let name = name.to_string();
    let expected = [
        Some(HostState::Pending),
        Some(HostState::Pending),
        Some(HostState::Live),
        None,
        Some(HostState::Live),
    ];
    assert_eq!(
        announced(&rig).await,
        expected.map(|state| (name.clone(), state))
    );
    assert_eq!(rig.versions(&mine).await, [1, 2, 3]);
}

async fn a_host_that_fails_for_long_is_live_no_more_and_free(database: Database) {
    let rig = rig(database).await;
    let (tenant, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    let name = host("*.fleet.acme.example");
    let (my_hosts, their_hosts) = (rig.store.hosts(&mine), rig.store.hosts(&theirs));
    for hosts in [&my_hosts, &their_hosts] {
        hosts.register(&name, "a", 10, NOW).await.unwrap();
    }
    my_hosts
        .note(&name, proof(NOW, Ok(()), false))
        .await
        .unwrap();
    let (authority, day) = (authority(), NOW + DAY);
    let proofs = rig.store.host_proofs(&authority);
    assert_eq!(proofs.due(day - 1, 10).await.unwrap(), []);
    let due = proofs.due(day, 10).await.unwrap();
    let due: Vec<_> = due.iter().map(|(id, h)| (*id, h.host.as_str())).collect();
    // What was never proved is not looked for.
    assert_eq!(due, [(tenant.id, "*.fleet.acme.example")]);

    let passing = my_hosts
        .note(&name, proof(day, Err("away"), false))
        .await
        .unwrap();
    assert_eq!(passing.state, HostState::Live);
    let lasting = proof(day + 1, Err("away"), true);
    let failing = my_hosts.note(&name, lasting).await.unwrap();
    assert_eq!(failing.state, HostState::Failing);
    assert_eq!(failing.proved_at, Some(NOW));
    let live = their_hosts.note(&name, proof(day + 2, Ok(()), false)).await;
    assert_eq!(live.unwrap().state, HostState::Live);
    let back = my_hosts.note(&name, proof(day + 3, Ok(()), false)).await;
    assert!(matches!(back, Err(StoreError::Exists { .. })));
    let last = announced(&rig).await.split_off(2);
    let states: Vec<_> = last.into_iter().map(|(_, state)| state.unwrap()).collect();
    assert_eq!(
        states,
        [HostState::Live, HostState::Failing, HostState::Live]
    );
}

async fn a_tenant_has_as_many_hosts_as_it_may_and_sees_no_others(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    let hosts = rig.store.hosts(&mine);
    for name in ["c.example.com", "a.example.com", "*.b.example.com"] {
        hosts.register(&host(name), "t", 3, NOW).await.unwrap();
    }
    let fourth = hosts.register(&host("d.example.com"), "t", 3, NOW).await;
    assert!(matches!(fourth, Err(StoreError::LimitReached { .. })));
    let names = |page: Vec<laneway_store::Host>| -> Vec<String> {
        page.into_iter().map(|h| h.host.to_string()).collect()
    };
    let first = names(hosts.list(None, 2).await.unwrap());
    assert_eq!(first, ["*.b.example.com", "a.example.com"]);
    let rest = hosts.list(Some(&host("a.example.com")), 2).await.unwrap();
    assert_eq!(names(rest), ["c.example.com"]);

    let (other, name) = (rig.store.hosts(&theirs), host("a.example.com"));
    assert_eq!(other.list(None, 10).await.unwrap(), []);
    assert_eq!(other.find(&name).await.unwrap(), None);
    for missing in [
        other.delete(&name, NOW).await,
        other.note(&name, proof(NOW, Ok(()), false)).await.map(drop),
    ] {
        assert!(matches!(missing, Err(StoreError::Missing { .. })));
    }
}

async fn keys_of_certificates_are_kept_encrypted_and_shown_of_live_hosts_alone(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let name = host("tracks.acme.example");
    let hosts = rig.store.hosts(&mine);
    hosts.register(&name, "t", 10, NOW).await.unwrap();
    let certificate = NewCertificate {
        chain: "a chain",
        key: "a private key",
        expires_at: NOW + DAY,
    };
    let changed = hosts.set_certificate(&name, certificate, NOW).await;
    assert_eq!(changed.unwrap().certificate_expires_at, Some(NOW + DAY));
    let authority = authority();
    let proofs = rig.store.host_proofs(&authority);
    assert!(proofs.certificate(&name).await.unwrap().is_none());
    assert!(proofs.certificates(None, 10).await.unwrap().is_empty());
    hosts.note(&name, proof(NOW, Ok(()), false)).await.unwrap();
    let found = proofs.certificate(&name).await.unwrap().unwrap();
    assert_eq!(
        (found.chain.as_str(), found.key.as_str()),
        ("a chain", "a private key")
    );
    assert!(!format!("{found:?}").contains("private"));
    let all = proofs.certificates(None, 10).await.unwrap();
    assert_eq!(all.len(), 1);
    let read = all.into_iter().next().unwrap().1;
    assert_eq!(read.unwrap().unwrap().key, "a private key");
    assert!(
        proofs
            .certificates(Some(&name), 10)
            .await
            .unwrap()
            .is_empty()
    );
    if database == Database::Sqlite {
        let path = rig.empty.url.trim_start_matches("sqlite:");
        for file in [path.to_owned(), format!("{path}-wal")] {
            let bytes = std::fs::read(file).unwrap_or_default();
            assert!(!bytes.windows(13).any(|w| w == b"a private key"));
        }
    }
}
