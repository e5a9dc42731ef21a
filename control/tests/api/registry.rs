//! The registry, as its clients use it.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::rig;

laneway_testkit::on_both_databases!(
    everyone_with_credentials_reads_the_shared_contracts,
    a_tenant_registers_under_its_own_prefix_alone,
    the_operator_registers_what_stays_compatible,
);

const FIRST: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}"#;
const BREAKING: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"c","type":"long"}]}"#;

async fn everyone_with_credentials_reads_the_shared_contracts(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["stream:read"]).await;
    let subjects = rig
        .ask("GET", "/registry/subjects", &key, &Value::Null)
        .await;
    assert!(
        subjects
            .head
            .contains("application/vnd.schemaregistry.v1+json")
    );
    let subjects: Vec<String> = serde_json::from_value(subjects.body).unwrap();
    assert!(!subjects.is_empty());
    for subject in subjects {
        let latest = rig
            .ask(
                "GET",
                &format!("/registry/subjects/{subject}/versions/latest"),
                &key,
                &Value::Null,
            )
            .await;
        assert_eq!(
            (latest.status, &latest.body["subject"]),
            (200, &json!(subject))
        );
        let by_id = rig
            .ask(
                "GET",
                &format!("/registry/schemas/ids/{}", latest.body["id"]),
                &key,
                &Value::Null,
            )
            .await;
        assert_eq!(by_id.body["schema"], latest.body["schema"]);
        let again = json!({"schema": latest.body["schema"]});
        let found = rig
            .ask(
                "POST",
                &format!("/registry/subjects/{subject}"),
                &key,
                &again,
            )
            .await;
        assert_eq!(found.body["version"], latest.body["version"]);
    }
    let unknown = rig
        .ask(
            "GET",
            "/registry/subjects/none/versions",
            &key,
            &Value::Null,
        )
        .await;
    assert_eq!(
        (unknown.status, &unknown.body["error_code"]),
        (404, &json!(40401))
    );
    let unknown = rig
        .ask("GET", "/registry/schemas/ids/9999", &key, &Value::Null)
        .await;
    assert_eq!(
        (unknown.status, &unknown.body["error_code"]),
        (404, &json!(40403))
    );
}

async fn a_tenant_registers_under_its_own_prefix_alone(database: Database) {
    let rig = rig(database).await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let reader = rig.key("acme", &["stream:read"]).await;
    let other = rig.tenant("other", &["tenant:admin"]).await;
    let body = json!({"schema": FIRST});
    let own = "/registry/subjects/acme.orders-value/versions";
    let made = rig.ask("POST", own, &acme, &body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(rig.ask("POST", own, &reader, &body).await.status, 403);
    let shared: Vec<String> = serde_json::from_value(
        rig.ask("GET", "/registry/subjects", &other, &Value::Null)
            .await
            .body,
    )
    .unwrap();
    assert!(!shared.iter().any(|s| s.starts_with("acme.")));
    let mut answers = Vec::new();
    for subject in [
        "acme.orders-value",
        "acme.none",
        "none",
        "otherwise.x",
        shared[0].as_str(),
    ] {
        let answer = rig
            .ask(
                "POST",
                &format!("/registry/subjects/{subject}/versions"),
                &other,
                &body,
            )
            .await;
        assert_eq!(answer.status, 403, "{subject}");
        answers.push(answer.body);
    }
    assert!(
        answers.iter().all(|a| *a == answers[0]),
        "existing or not, the answer is the same"
    );
    let hidden = rig
        .ask(
            "GET",
            "/registry/subjects/acme.orders-value/versions",
            &other,
            &Value::Null,
        )
        .await;
    assert_eq!(hidden.status, 404);
    let by_id = format!("/registry/schemas/ids/{}", made.body["id"]);
    assert_eq!(
        rig.ask("GET", &by_id, &other, &Value::Null).await.status,
        404
    );
    assert_eq!(
        rig.ask("GET", &by_id, &reader, &Value::Null).await.status,
        200
    );
}

async fn the_operator_registers_what_stays_compatible(database: Database) {
    let rig = rig(database).await;
    let operator = rig.operator_key().await;
    let path = "/registry/subjects/things/versions";
    let first = rig
        .ask("POST", path, &operator, &json!({"schema": FIRST}))
        .await;
    assert_eq!(first.status, 200);
    let broken = rig
        .ask("POST", path, &operator, &json!({"schema": BREAKING}))
        .await;
    assert_eq!(
        (broken.status, &broken.body["error_code"]),
        (409, &json!(409))
    );
    let invalid = rig
        .ask("POST", path, &operator, &json!({"schema": "{"}))
        .await;
    assert_eq!(
        (invalid.status, &invalid.body["error_code"]),
        (422, &json!(42201))
    );
    let check = "/registry/compatibility/subjects/things/versions/latest";
    let no = rig
        .ask("POST", check, &operator, &json!({"schema": BREAKING}))
        .await;
    assert_eq!(no.body["is_compatible"], false);
    let yes = rig
        .ask("POST", check, &operator, &json!({"schema": FIRST}))
        .await;
    assert_eq!(yes.body["is_compatible"], true);
    let level = rig
        .ask("GET", "/registry/config", &operator, &Value::Null)
        .await;
    assert_eq!(level.body["compatibilityLevel"], "BACKWARD");
    let none = rig
        .ask(
            "PUT",
            "/registry/config",
            &operator,
            &json!({"compatibility": "NONE"}),
        )
        .await;
    assert_eq!(none.status, 422);
}
