//! The registry's storage.

use crate::support::{authority, rig};
use laneway_schemas::{Compatibility, Registry, RegistryError};
use laneway_store::{Deletion, NewSchema, SchemaReference, SchemaStore};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    ids_are_given_once_and_the_same_schema_has_the_same_id,
    an_incompatible_version_is_refused_and_uses_up_no_id,
    a_tenant_neither_sees_nor_takes_anothers_subject,
    concurrent_registrations_agree,
    what_is_deleted_is_left_out_and_then_gone_but_its_id_is_never_given_again,
    a_level_of_its_own_comes_before_the_general_one,
    references_are_part_of_what_a_schema_is_and_keep_what_they_refer_to,
    a_tenant_refers_to_shared_schemas_and_its_own_alone,
    what_a_tenant_registered_is_erased_with_it,
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

const PLACE: &str = r#"{"type":"record","name":"Place","namespace":"geo","fields":[{"name":"lat","type":"double"}]}"#;
const STOP: &str = r#"{"type":"record","name":"Stop","fields":[{"name":"at","type":"geo.Place"}]}"#;
const WAY: &str = r#"{"type":"record","name":"Way","fields":[{"name":"to","type":"Stop"}]}"#;

fn referring<'a>(schema: &'a str, references: &'a [SchemaReference]) -> NewSchema<'a> {
    NewSchema { schema, references }
}

fn reference(name: &str, subject: &str, version: u32) -> SchemaReference {
    SchemaReference {
        name: name.to_owned(),
        subject: subject.to_owned(),
        version,
    }
}

async fn references_are_part_of_what_a_schema_is_and_keep_what_they_refer_to(database: Database) {
    let rig = rig(database).await;
    let schemas = rig.store.schemas();
    let place = schemas.register("place", PLACE).await.unwrap();
    let unresolved = schemas.register("stop", STOP).await;
    assert!(
        matches!(unresolved, Err(RegistryError::Invalid { .. })),
        "{unresolved:?}"
    );
    let missing = [reference("geo.Place", "place", 2)];
    let missing = schemas.add("stop", referring(STOP, &missing)).await;
    assert!(
        matches!(&missing, Err(RegistryError::Invalid { reason, .. }) if reason.contains("version 2")),
        "{missing:?}"
    );
    let at = [reference("geo.Place", "place", 1)];
    let stop = schemas.add("stop", referring(STOP, &at)).await.unwrap();
    assert_ne!(stop, place);
    let again = schemas.add("stop", referring(STOP, &at)).await.unwrap();
    assert_eq!(again, stop);
    let way = [reference("Stop", "stop", 1)];
    let way = schemas.add("way", referring(WAY, &way)).await.unwrap();
    assert_eq!(schemas.by_id(stop).await.unwrap().unwrap().references, at);

    // The same text with another reference is another schema.
    let wider = PLACE.replace("}]}", r#"},{"name":"z","type":"double","default":0}]}"#);
    schemas.register("place", &wider).await.unwrap();
    let wider = [reference("geo.Place", "place", 2)];
    let second = schemas.add("stop", referring(STOP, &wider)).await.unwrap();
    assert_ne!(second, stop);
    let same = schemas.lookup("stop", referring(STOP, &wider)).await;
    assert_eq!(same.unwrap().unwrap().version, 2);
    let other = schemas.lookup("stop", referring(STOP, &[])).await;
    assert_eq!(other.unwrap(), None);

    // What they refer to counts for whether they are compatible.
    schemas
        .set_level("place", Compatibility::None)
        .await
        .unwrap();
    let broken = PLACE.replace("lat", "latitude");
    schemas.register("place", &broken).await.unwrap();
    let broken = [reference("geo.Place", "place", 3)];
    let refused = schemas.add("stop", referring(STOP, &broken)).await;
    assert!(
        matches!(refused, Err(RegistryError::Incompatible { .. })),
        "{refused:?}"
    );

    assert_eq!(schemas.referring("place", 1).await.unwrap(), [stop]);
    assert_eq!(schemas.referring("stop", 1).await.unwrap(), [way]);
    let delete = async |subject: &str, version, permanent| {
        let deleted = schemas.delete(subject, Some(version), permanent).await;
        deleted.unwrap()
    };
    assert_eq!(delete("place", 1, false).await, Deletion::ReferredTo(1));
    assert_eq!(delete("stop", 1, false).await, Deletion::ReferredTo(1));
    assert_eq!(delete("way", 1, false).await, Deletion::Done(vec![1]));
    // It is left out, and still has to be read.
    assert_eq!(delete("stop", 1, false).await, Deletion::Done(vec![1]));
    assert_eq!(delete("stop", 1, true).await, Deletion::ReferredTo(1));
    assert_eq!(delete("way", 1, true).await, Deletion::Done(vec![1]));
    assert_eq!(delete("stop", 1, true).await, Deletion::Done(vec![1]));
    assert_eq!(delete("place", 1, false).await, Deletion::Done(vec![1]));
    let gone = schemas.add("stop", referring(STOP, &at)).await;
    assert!(
        matches!(gone, Err(RegistryError::Invalid { .. })),
        "{gone:?}"
    );
}

async fn a_tenant_refers_to_shared_schemas_and_its_own_alone(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    let platform = rig.store.schemas();
    let (mine, theirs) = (
        rig.store.tenant_schemas(&mine),
        rig.store.tenant_schemas(&theirs),
    );
    platform.register("shared", PLACE).await.unwrap();
    theirs.register("theirs.place", PLACE).await.unwrap();
    let refer = async |schemas: &SchemaStore, subject: &str, of: &str| {
        let references = [reference("geo.Place", of, 1)];
        let added = schemas.add(subject, referring(STOP, &references)).await;
        added.map_err(|error| error.to_string())
    };
    let stop = refer(&mine, "mine.stop", "shared").await.unwrap();
    refer(&theirs, "theirs.stop", "theirs.place").await.unwrap();
    // Another's answers as one that there is not, also where the platform refers to a tenant's:
    // it would keep the tenant from being erased.
    let another = refer(&mine, "mine.other", "theirs.place")
        .await
        .unwrap_err();
    let none = refer(&mine, "mine.other", "theirs.none").await.unwrap_err();
    assert_eq!(another, none.replace("none", "place"));
    assert!(refer(&platform, "own", "theirs.place").await.is_err());
    refer(&platform, "theirs.more", "theirs.place")
        .await
        .unwrap_err();

    // A question whether it could be registered is answered as the registration is.
    let theirs_place = [reference("geo.Place", "theirs.place", 1)];
    let stop_there = referring(STOP, &theirs_place);
    assert!(mine.check("mine.stop", &[], stop_there).await.is_err());
    assert!(mine.check("theirs.stop", &[], stop_there).await.is_err());
    assert!(platform.check("own", &[], stop_there).await.is_err());
    platform
        .check("theirs.stop", &[], stop_there)
        .await
        .unwrap();

    assert_eq!(mine.referring("shared", 1).await.unwrap(), [stop]);
    assert!(theirs.referring("shared", 1).await.unwrap().is_empty());
    let kept = platform.delete("shared", None, false).await.unwrap();
    assert_eq!(kept, Deletion::ReferredTo(1));
}

async fn what_a_tenant_registered_is_erased_with_it(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("mine").await;
    let (_, other) = rig.tenant("theirs").await;
    let (mine, theirs) = (
        rig.store.tenant_schemas(&scope),
        rig.store.tenant_schemas(&other),
    );
    let place = mine.register("mine.place", PLACE).await.unwrap();
    let at = [reference("geo.Place", "mine.place", 1)];
    let stop = mine.add("mine.stop", referring(STOP, &at)).await.unwrap();
    mine.set_level("mine.stop", Compatibility::None)
        .await
        .unwrap();
    assert_eq!(theirs.register("theirs.place", PLACE).await.unwrap(), place);

    let authority = authority();
    let erased = rig.store.closures(&authority).erase(tenant.id).await;
    assert!(erased.unwrap() > 0);
    let schemas = rig.store.schemas();
    assert_eq!(schemas.subjects(true).await.unwrap(), ["theirs.place"]);
    assert_eq!(schemas.by_id(stop).await.unwrap(), None);
    assert_eq!(schemas.own_level("mine.stop").await.unwrap(), None);
    assert!(theirs.by_id(place).await.unwrap().is_some());
    let next = theirs.register("theirs.new", SECOND).await.unwrap();
    assert!(next > stop, "an id is never given again");
}
