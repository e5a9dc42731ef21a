//! What nodes share: leases, settings, demands.

use crate::support::{NOW, authority, rig};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    a_lease_has_one_owner_until_it_runs_out,
    a_generated_setting_is_the_same_for_all,
    demands_of_all_nodes_add_up,
    connections_are_counted_apart_from_events,
);

async fn a_lease_has_one_owner_until_it_runs_out(database: Database) {
    let rig = rig(database).await;
    let (store, authority) = (&rig.store, authority());
    let leases = store.leases(&authority);
    assert!(leases.take("relay", "a", 1000, 500).await.unwrap());
    assert!(!leases.take("relay", "b", 1400, 500).await.unwrap());
    assert!(
        leases.take("relay", "a", 1400, 500).await.unwrap(),
        "its owner renews it"
    );
    assert!(!leases.take("relay", "b", 1899, 500).await.unwrap());
    assert!(leases.take("relay", "b", 1900, 500).await.unwrap());
    leases.release("relay", "a").await.unwrap();
    assert!(
        !leases.take("relay", "a", 1901, 500).await.unwrap(),
        "only the owner releases it"
    );
    leases.release("relay", "b").await.unwrap();
    assert!(leases.take("relay", "a", 1902, 500).await.unwrap());
}

async fn a_generated_setting_is_the_same_for_all(database: Database) {
    let rig = rig(database).await;
    let authority = authority();
    assert_eq!(
        rig.store
            .settings(&authority)
            .get("hash_key")
            .await
            .unwrap(),
        None
    );
    let (one, two) = tokio::join!(
        async {
            rig.store
                .settings(&authority)
                .get_or_insert("hash_key", b"one")
                .await
                .unwrap()
        },
        async {
            rig.store
                .settings(&authority)
                .get_or_insert("hash_key", b"two")
                .await
                .unwrap()
        },
    );
    assert_eq!(one, two);
    assert_eq!(
        rig.store
            .settings(&authority)
            .get("hash_key")
            .await
            .unwrap(),
        Some(one)
    );
}

async fn demands_of_all_nodes_add_up(database: Database) {
    let rig = rig(database).await;
    let (first, _) = rig.tenant("first").await;
    let (second, _) = rig.tenant("second").await;
    let authority = authority();
    let shares = rig.store.rate_shares(&authority);
    shares
        .exchange("a", &[(first.id, 100), (second.id, 5)], NOW, NOW + 2000)
        .await
        .unwrap();
    let seen = shares
        .exchange("b", &[(first.id, 300)], NOW, NOW + 1000)
        .await
        .unwrap();
    assert_eq!(
        seen.iter()
            .map(|s| (s.tenant, s.total, s.nodes))
            .collect::<Vec<_>>(),
        [(first.id, 400, 2)]
    );
    let alone = shares
        .exchange("a", &[(first.id, 50)], NOW + 1500, NOW + 3500)
        .await
        .unwrap();
    assert_eq!(
        alone
            .iter()
            .map(|s| (s.tenant, s.total, s.nodes))
            .collect::<Vec<_>>(),
        [(first.id, 50, 1)]
    );
}

async fn connections_are_counted_apart_from_events(database: Database) {
    let rig = rig(database).await;
    let (tenant, _) = rig.tenant("first").await;
    let authority = authority();
    let events = rig.store.rate_shares(&authority);
    let sockets = rig.store.socket_shares(&authority);
    let seen = events
        .exchange("a", &[(tenant.id, 100)], NOW, NOW + 2000)
        .await;
    seen.unwrap();
    for (node, open, seen) in [
        ("a", Some(2), Some((2, 1))),
        // One that has none asks.
        ("b", Some(0), Some((2, 2))),
        ("a", Some(3), Some((3, 2))),
        ("a", None, None),
        ("b", Some(1), Some((1, 1))),
    ] {
        let open: Vec<_> = open.map(|open| (tenant.id, open)).into_iter().collect();
        let found = sockets.exchange(node, &open, NOW, NOW + 2000).await;
        let found: Vec<_> = found.unwrap().iter().map(|s| (s.total, s.nodes)).collect();
        assert_eq!(found, Vec::from_iter(seen), "{node}");
    }
    let seen = events
        .exchange("b", &[(tenant.id, 1)], NOW, NOW + 2000)
        .await;
    assert_eq!(seen.unwrap()[0].total, 101);
}
