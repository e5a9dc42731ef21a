//! The registry's storage.

use crate::support::rig;
use laneway_schemas::{Compatibility, Registry, RegistryError};
use laneway_store::Deletion;
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    ids_are_given_once_and_the_same_schema_has_the_same_id,
    an_incompatible_version_is_refused_and_uses_up_no_id,
    a_tenant_neither_sees_nor_takes_anothers_subject,
    concurrent_registrations_agree,
    what_is_deleted_is_left_out_and_then_gone_but_its_id_is_never_given_again,
    a_level_of_its_own_comes_before_the_general_one,
);

const FIRST: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}"#;
const SECOND: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"long","default":0}]}"#;
const BREAKING: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"c","type":"long"}]}"#;

async fn ids_are_given_once_and_the_same_schema_has_the_same_id(database: Database) {
    let rig = rig(database).await;
    let schemas = rig.store.schemas();
    let first = schemas.register("s", FIRST).await.unwrap();
    let second = schemas.register("s", SECOND).await.unwrap();
    assert_eq!((first, second), (1, 2));
    assert_eq!(
        schemas
            .register("s", &FIRST.replace(',', ", "))
            .await
            .unwrap(),
        first
    );
    assert_eq!(schemas.register("t", SECOND).await.unwrap(), second);
    let versions: Vec<_> = schemas
        .versions("s")
        .await
        .unwrap()
        .iter()
        .map(|v| (v.version, v.id))
        .collect();
    assert_eq!(versions, [(1, 1), (2, 2)]);
    assert_eq!(schemas.subjects(false).await.unwrap(), ["s", "t"]);
    assert!(schemas.schema(first).await.unwrap().contains("\"R\""));
    assert!(matches!(
        schemas.schema(99).await,
        Err(RegistryError::UnknownId { id: 99 })
    ));
}

async fn an_incompatible_version_is_refused_and_uses_up_no_id(database: Database) {
    let rig = rig(database).await;
    let schemas = rig.store.schemas();
    schemas.register("s", FIRST).await.unwrap();
    let refused = schemas.register("s", BREAKING).await;
    assert!(
        matches!(refused, Err(RegistryError::Incompatible { .. })),
        "{refused:?}"
    );
    let invalid = schemas.register("s", "{\"type\":\"nothing\"}").await;
    assert!(
        matches!(invalid, Err(RegistryError::Invalid { .. })),
        "{invalid:?}"
    );
    assert_eq!(schemas.register("s", SECOND).await.unwrap(), 2);
    assert!(schemas.versions("u").await.unwrap().is_empty());
}

async fn a_tenant_neither_sees_nor_takes_anothers_subject(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    rig.store.schemas().register("shared", FIRST).await.unwrap();
    let id = rig
        .store
        .tenant_schemas(&theirs)
        .register("theirs.r", SECOND)
        .await
        .unwrap();
    let seen = rig.store.tenant_schemas(&mine);
    assert_eq!(seen.subjects(false).await.unwrap(), ["shared"]);
    assert!(seen.versions("theirs.r").await.unwrap().is_empty());
    assert_eq!(seen.by_id(id).await.unwrap(), None);
    assert!(seen.register("theirs.r", SECOND).await.is_err());
    assert!(seen.register("shared", SECOND).await.is_err());
    assert_eq!(
        rig.store.schemas().versions("shared").await.unwrap().len(),
        1
    );
}

async fn concurrent_registrations_agree(database: Database) {
    let rig = rig(database).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..12 {
        let schemas = rig.store.schemas();
        tasks.spawn(async move {
            schemas
                .register(&format!("s{}", i % 3), FIRST)
                .await
                .unwrap()
        });
    }
    assert!(tasks.join_all().await.iter().all(|id| *id == 1));
    assert_eq!(rig.store.schemas().subjects(false).await.unwrap().len(), 3);
}

async fn what_is_deleted_is_left_out_and_then_gone_but_its_id_is_never_given_again(
    database: Database,
) {
    let rig = rig(database).await;
    let schemas = rig.store.schemas();
    let first = schemas.register("s", FIRST).await.unwrap();
    let second = schemas.register("s", SECOND).await.unwrap();
    let delete = async |version, permanent| schemas.delete("s", version, permanent).await.unwrap();
    let versions = async || {
        let found = schemas.versions("s").await.unwrap();
        found
            .iter()
            .map(|v| (v.version, v.deleted))
            .collect::<Vec<_>>()
    };
    assert_eq!(delete(Some(9), false).await, Deletion::Unknown);
    assert_eq!(delete(Some(1), true).await, Deletion::NotDeletedBefore);
    assert_eq!(delete(Some(1), false).await, Deletion::Done(vec![1]));
    assert_eq!(delete(Some(1), false).await, Deletion::DeletedBefore);
    assert_eq!(versions().await, [(1, true), (2, false)]);
    assert!(schemas.by_id(first).await.unwrap().is_some());

    // The same schema comes back as a new version, under its id.
    assert_eq!(schemas.register("s", FIRST).await.unwrap(), first);
    assert_eq!(versions().await, [(2, false), (3, false)]);
    assert_eq!(delete(None, false).await, Deletion::Done(vec![2, 3]));
    assert!(schemas.subjects(false).await.unwrap().is_empty());
    assert_eq!(schemas.subjects(true).await.unwrap(), ["s"]);
    assert_eq!(delete(None, true).await, Deletion::Done(vec![2, 3]));
    assert!(schemas.subjects(true).await.unwrap().is_empty());
    assert_eq!(schemas.by_id(second).await.unwrap(), None);
    let third = schemas.register("s", BREAKING).await.unwrap();
    assert!(third > second);
}

async fn a_level_of_its_own_comes_before_the_general_one(database: Database) {
    let rig = rig(database).await;
    let schemas = rig.store.schemas();
    schemas.register("s", FIRST).await.unwrap();
    assert_eq!(schemas.level("s").await.unwrap(), Compatibility::Backward);
    let general = schemas.set_general_level(Compatibility::FullTransitive);
    general.await.unwrap();
    schemas.set_level("s", Compatibility::None).await.unwrap();
    assert_eq!(schemas.level("s").await.unwrap(), Compatibility::None);
    schemas.register("s", BREAKING).await.unwrap();
    schemas.remove_level("s").await.unwrap();
    assert_eq!(schemas.own_level("s").await.unwrap(), None);
    assert_eq!(
        schemas.level("s").await.unwrap(),
        Compatibility::FullTransitive
    );
    assert!(schemas.register("s", SECOND).await.is_err());
}
