//! The registry's storage.

use crate::support::rig;
use laneway_schemas::{Registry, RegistryError};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    ids_are_given_once_and_the_same_schema_has_the_same_id,
    an_incompatible_version_is_refused_and_uses_up_no_id,
    a_tenant_neither_sees_nor_takes_anothers_subject,
    concurrent_registrations_agree,
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
    assert_eq!(schemas.subjects().await.unwrap(), ["s", "t"]);
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
    assert_eq!(seen.subjects().await.unwrap(), ["shared"]);
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
    assert_eq!(rig.store.schemas().subjects().await.unwrap().len(), 3);
}
