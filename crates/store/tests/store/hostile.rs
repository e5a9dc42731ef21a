//! A shard whose administrator writes into it what was never so: who is there is believed about
//! its own tenants, and about nobody else.

use laneway_store::{Store, StoreCredentials, StoreError};
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{CredentialSource, Grant, Grants, KeyId, Placement, TenantId};
use laneway_testkit::Database;

use crate::claims::{as_owner, prove, register};
use crate::isolation::furnish;
use crate::support::{NOW, ShardedRig, authority, new_in, new_key, operator, sharded};

laneway_testkit::on_both_databases!(
    a_row_that_says_what_the_main_database_does_not_lets_nobody_in,
    news_of_others_and_of_names_of_others_is_not_told,
    nothing_of_another_tenant_is_closed_erased_or_managed,
);

/// What is wrong about a tenant, as an assignment in its row.
fn lies() -> Vec<String> {
    let elsewhere = Placement::first(TenantId::from_u128(99), 4, 24);
    let elsewhere = serde_json::to_string(&elsewhere).unwrap();
    vec![
        "slug = 'platform'".to_owned(),
        "kind = 'platform'".to_owned(),
        format!("placement = '{elsewhere}'"),
        "topic_set = 'bank'".to_owned(),
        "home = ''".to_owned(),
    ]
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let refused = answer.unwrap_err();
    assert!(refused.to_string().contains("says otherwise"), "{refused}");
}

async fn a_row_that_says_what_the_main_database_does_not_lets_nobody_in(database: Database) {
    for lie in lies() {
        let rig = sharded(database).await;
        let (acme, scope) = rig.tenant("acme", "eu").await;
        let grants = Grants::of([Grant::Operator]);
        let key = new_key(KeyId::from_u128(3), grants, [3; 32]);
        rig.store.keys(&scope).create(key, NOW).await.unwrap();
        let source = StoreCredentials(rig.store.clone());
        assert!(source.by_token([3; 32]).await.unwrap().is_some());
        let sql = format!("UPDATE tenants SET {lie} WHERE tenant_id = '{}'", acme.id);
        as_owner(&rig.eu, &sql).await;
        assert!(source.by_token([3; 32]).await.is_err(), "{lie}");
        is_refused(rig.store.tenants(&operator()).find(acme.id).await);
        is_refused(rig.store.family(&scope).head().await);
    }
}

async fn shard_news(store: &Store) -> Result<usize, StoreError> {
    let authority = authority();
    let mut told = 0;
    for outbox in store.outboxes(&authority) {
        if outbox.database() == "eu" {
            let rows = outbox.oldest(100).await?;
            told += outbox.vetted(rows).await?.len();
        }
    }
    Ok(told)
}

/// News that a shard makes up.
async fn forge(rig: &ShardedRig, tenant: TenantId, version: i64, kind: &str, id: &str, body: &str) {
    let sql = format!(
        "INSERT INTO outbox (tenant_id, version, kind, id, deleted, effective_from, body)
         VALUES ('{tenant}', {version}, '{kind}', '{id}', 0, {NOW}, '{body}')"
    );
    as_owner(&rig.eu, &sql).await;
}

async fn news_of_others_and_of_names_of_others_is_not_told(database: Database) {
    let rig = sharded(database).await;
    let (acme, in_acme) = rig.tenant("acme", "eu").await;
    let (victim, in_victim) = rig.tenant("victim", "main").await;
    register(&rig.store, &in_victim, "tracks.example.com").await;
    prove(&rig.store, &in_victim, "tracks.example.com")
        .await
        .unwrap();
    let before = shard_news(&rig.store).await.unwrap();
    let grant = r#"{"partner":"ten_00000000000000000000000001","event_types":[],"expires_at":0}"#;
    forge(&rig, victim.id, 50, "grant", "g", grant).await;
    assert_eq!(shard_news(&rig.store).await.unwrap(), before);

    // A host of somebody else's is not told to be live.
    let live = r#"{"state":"live"}"#;
    forge(&rig, acme.id, 50, "host", "tracks.example.com", live).await;
    let authority = authority();
    let outbox = rig.store.outboxes(&authority).into_iter();
    let outbox = { outbox }.find(|outbox| outbox.database() == "eu").unwrap();
    let rows = outbox.oldest(100).await.unwrap();
    let rows = outbox.vetted(rows).await.unwrap();
    let told = rows.iter().find(|row| row.id == "tracks.example.com");
    assert!(told.unwrap().body.contains("pending"));

    // A name of somebody else's stops what the shard tells.
    let mut body = acme.body.clone();
    body.slug = "victim".to_owned();
    let body = serde_json::to_string(&body).unwrap();
    let id = acme.id.to_string();
    forge(&rig, acme.id, 51, "tenant", &id, &body).await;
    is_refused(shard_news(&rig.store).await);
    // And it is not copied.
    let sql =
        format!("UPDATE tenants SET slug = 'free', control_version = 60 WHERE tenant_id = '{id}'");
    as_owner(&rig.eu, &sql).await;
    rig.store
        .config(&in_acme)
        .set("k", 1.into(), None, NOW)
        .await
        .unwrap();
    let listed = rig.store.tenants(&operator()).list(None, 9).await.unwrap();
    assert!(listed.iter().any(|tenant| tenant.body.slug == "acme"));
    rig.tenant("free", "main").await;
}

async fn nothing_of_another_tenant_is_closed_erased_or_managed(database: Database) {
    let rig = sharded(database).await;
    let (acme, in_acme) = rig.tenant("acme", "eu").await;
    let (victim, in_victim) = rig.tenant("victim", "main").await;
    furnish(&rig.store, &in_victim, 1).await;
    let (acme, victim) = (acme.id, victim.id);
    for sql in [
        format!(
            "INSERT INTO tenants (tenant_id, slug, parent, kind, state, placement, limits, options,
                control_version, created_at, shard, home)
             SELECT '{victim}', 'victim', '{acme}', kind, state, placement, limits, options,
                1, 1, shard, home FROM tenants WHERE tenant_id = '{acme}'"
        ),
        format!("INSERT INTO closures (tenant_id, begun_at) VALUES ('{victim}', 1)"),
        format!(
            "INSERT INTO erasures (tenant_id, device_id, asked_at, accepted_until)
             VALUES ('{victim}', 'truck', 1, 1)"
        ),
    ] {
        as_owner(&rig.eu, &sql).await;
    }
    let authority = authority();
    assert_eq!(rig.store.closures(&authority).open(9).await.unwrap(), []);
    let erasures = rig.store.erasures(&authority);
    assert_eq!(erasures.open(NOW, None, 9).await.unwrap(), []);
    let family = rig.store.family(&in_acme);
    is_refused(family.find("victim").await);
    is_refused(family.list(TenantKind::Tenant, None, 9).await);
    // Nor is it where a new one goes.
    let mut new = new_in("below-victim", "main");
    new.database = None;
    let created = rig.store.family(&in_victim).create(new, NOW).await.unwrap();
    assert_eq!(created.shard, None);
    let source = StoreCredentials(rig.store.clone());
    assert!(source.by_token([1; 32]).await.unwrap().is_some());
}
