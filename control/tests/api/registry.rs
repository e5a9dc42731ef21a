//! The registry, as its clients use it.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, rig};

laneway_testkit::on_both_databases!(
    everyone_with_credentials_reads_the_shared_contracts,
    a_tenant_registers_under_its_own_prefix_alone,
    the_operator_registers_what_stays_compatible,
    levels_decide_what_may_be_registered,
    a_tenant_deletes_its_own_subjects_alone,
    schemas_refer_to_others_and_say_so,
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
    let check = "/registry/compatibility/subjects/things/versions/latest?verbose=true";
    let no = rig
        .ask("POST", check, &operator, &json!({"schema": BREAKING}))
        .await;
    assert_eq!(no.body["is_compatible"], false);
    assert_eq!(no.body["messages"].as_array().unwrap().len(), 1);
    let yes = rig
        .ask("POST", check, &operator, &json!({"schema": FIRST}))
        .await;
    assert_eq!(yes.body, json!({"is_compatible": true, "messages": []}));
}

async fn levels_decide_what_may_be_registered(database: Database) {
    let rig = rig(database).await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let operator = rig.operator_key().await;
    let config = "/registry/config/acme.r";
    let unset = rig.ask("GET", config, &acme, &Value::Null).await;
    assert_eq!(
        (unset.status, &unset.body["error_code"]),
        (404, &json!(40408))
    );
    let default = format!("{config}?defaultToGlobal=true");
    let general = rig.ask("GET", &default, &acme, &Value::Null).await;
    assert_eq!(general.body, json!({"compatibilityLevel": "BACKWARD"}));
    let path = "/registry/subjects/acme.r/versions";
    let first = rig
        .ask("POST", path, &acme, &json!({"schema": FIRST}))
        .await;
    assert_eq!(first.status, 200);
    let breaking = json!({"schema": BREAKING});
    assert_eq!(rig.ask("POST", path, &acme, &breaking).await.status, 409);
    let forward = json!({"compatibility": "FORWARD"});
    let set = rig.ask("PUT", config, &acme, &forward).await;
    assert_eq!((set.status, set.body), (200, forward.clone()));
    let check = "/registry/compatibility/subjects/acme.r/versions";
    let fits = rig.ask("POST", check, &acme, &breaking).await;
    assert_eq!(fits.body, json!({"is_compatible": true}));
    assert_eq!(rig.ask("POST", path, &acme, &breaking).await.status, 200);
    let removed = rig.ask("DELETE", config, &acme, &Value::Null).await;
    assert_eq!(removed.body, json!({"compatibilityLevel": "FORWARD"}));

    let bad = json!({"compatibility": "SIDEWAYS"});
    let bad = rig.ask("PUT", config, &acme, &bad).await;
    assert_eq!((bad.status, &bad.body["error_code"]), (422, &json!(42203)));
    let none = json!({"compatibility": "NONE"});
    for path in ["/registry/config", "/registry/config/other.r"] {
        assert_eq!(rig.ask("PUT", path, &acme, &none).await.status, 403);
    }
    let general = "/registry/config";
    assert_eq!(rig.ask("PUT", general, &operator, &none).await.status, 200);
    let general = rig.ask("GET", general, &acme, &Value::Null).await;
    assert_eq!(general.body, json!({"compatibilityLevel": "NONE"}));
}

/// The status, with the code where it is refused and the body where not.
fn outcome(answer: Answer) -> (u16, Value) {
    let code = answer.body["error_code"].clone();
    let told = if code.is_null() { answer.body } else { code };
    (answer.status, told)
}

async fn a_tenant_deletes_its_own_subjects_alone(database: Database) {
    let rig = rig(database).await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let other = rig.tenant("other", &["tenant:admin"]).await;
    let subject = "/registry/subjects/acme.r";
    let versions = format!("{subject}/versions");
    let body = json!({"schema": FIRST});
    let id = rig.ask("POST", &versions, &acme, &body).await.body["id"].clone();
    let uses = format!("/registry/schemas/ids/{id}/versions");
    let found = rig.ask("GET", &uses, &acme, &Value::Null).await;
    assert_eq!(found.body, json!([{"subject": "acme.r", "version": 1}]));
    let hidden = rig.ask("GET", &uses, &other, &Value::Null).await;
    assert_eq!(
        (hidden.status, &hidden.body["error_code"]),
        (404, &json!(40403))
    );
    for path in [subject, "/registry/subjects/acme.none"] {
        let refused = rig.ask("DELETE", path, &other, &Value::Null).await;
        assert_eq!(refused.status, 403, "{path}");
    }
    let delete = async |path: &str| outcome(rig.ask("DELETE", path, &acme, &Value::Null).await);
    let (one, for_good) = (
        format!("{versions}/1"),
        format!("{versions}/1?permanent=true"),
    );
    assert_eq!(delete(&format!("{versions}/x")).await, (422, json!(42202)));
    assert_eq!(delete(&format!("{versions}/7")).await, (404, json!(40402)));
    assert_eq!(delete(&for_good).await, (404, json!(40407)));
    assert_eq!(delete(&one).await, (200, json!(1)));
    assert_eq!(delete(&one).await, (404, json!(40406)));
    assert_eq!(delete(subject).await, (404, json!(40404)));
    let left = rig.ask("GET", &versions, &acme, &Value::Null).await;
    assert_eq!(
        (left.status, &left.body["error_code"]),
        (404, &json!(40401))
    );
    let with_deleted = format!("{versions}?deleted=true");
    let all = rig.ask("GET", &with_deleted, &acme, &Value::Null).await;
    assert_eq!(all.body, json!([1]));
    let permanent = format!("{subject}?permanent=true");
    assert_eq!(delete(&permanent).await, (200, json!([1])));
    assert_eq!(delete(&permanent).await, (404, json!(40401)));
    rig.ask("POST", &versions, &acme, &body).await;
    assert_eq!(delete(&permanent).await, (404, json!(40405)));
}

async fn schemas_refer_to_others_and_say_so(database: Database) {
    let rig = rig(database).await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let other = rig.tenant("other", &["tenant:admin"]).await;
    let ask = async |method: &str, path: &str, body: &Value| {
        let path = format!("/registry{path}");
        outcome(rig.ask(method, &path, &acme, body).await)
    };
    let versions = |subject: &str| format!("/subjects/acme.{subject}/versions");
    let plain = json!({"schema": FIRST, "references": null});
    let (_, made) = ask("POST", &versions("r"), &plain).await;
    let of = |subject: &str, version: i64| {
        json!({"schema": r#"{"type":"array","items":"R"}"#, "schemaType": "AVRO",
            "references": [{"name": "R", "subject": subject, "version": version}]})
    };
    for wrong in [
        of("acme.r", 7),
        of("acme.r", -2),
        of("acme.none", 1),
        of("acme.none", -1),
    ] {
        let refused = ask("POST", &versions("list"), &wrong).await;
        assert_eq!(refused, (422, json!(42201)), "{wrong}");
    }
    let (status, list) = ask("POST", &versions("list"), &of("acme.r", -1)).await;
    assert_eq!(status, 200, "{list}");
    let expected = json!([{"name": "R", "subject": "acme.r", "version": 1}]);
    let id = format!("/schemas/ids/{}", list["id"]);
    let latest = format!("{}/latest", versions("list"));
    for path in [&id, &latest] {
        let (_, found) = ask("GET", path, &Value::Null).await;
        assert_eq!(found["references"], expected, "{path}");
    }
    let plain = format!("/schemas/ids/{}", made["id"]);
    let (_, plain) = ask("GET", &plain, &Value::Null).await;
    assert_eq!(plain.get("references"), None);
    let looked_up = ask("POST", "/subjects/acme.list", &of("acme.r", 1)).await;
    assert_eq!((looked_up.0, &looked_up.1["id"]), (200, &list["id"]));
    let check = format!("/compatibility{}/latest", versions("list"));
    let fits = ask("POST", &check, &of("acme.r", 1)).await;
    assert_eq!(fits, (200, json!({"is_compatible": true})));
    let none = ask("POST", &check, &of("acme.r", 2)).await;
    assert_eq!(none, (422, json!(42201)));
    let many = json!({"schema": FIRST, "references": vec![expected[0].clone(); 65]});
    let refused = ask("POST", &versions("list"), &many).await;
    assert_eq!(refused, (422, json!(42201)));

    let referring = format!("{}/1/referencedby", versions("r"));
    let found = ask("GET", &referring, &Value::Null).await;
    assert_eq!(found, (200, json!([list["id"]])));
    let path = format!("/registry{referring}");
    let hidden = rig.ask("GET", &path, &other, &Value::Null).await;
    assert_eq!(hidden.status, 404);
    for kept in [format!("{}/1", versions("r")), "/subjects/acme.r".into()] {
        let kept = ask("DELETE", &kept, &Value::Null).await;
        assert_eq!(kept, (422, json!(42206)));
    }
    let done = ask("DELETE", "/subjects/acme.list", &Value::Null).await;
    assert_eq!(done, (200, json!([1])));
    let done = ask("DELETE", "/subjects/acme.r", &Value::Null).await;
    assert_eq!(done, (200, json!([1])));
}
