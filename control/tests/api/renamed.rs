//! A renamed tenant under the names that it had.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, bearer, rig_below_a_domain as rig};

laneway_testkit::on_both_databases!(
    a_former_name_leads_to_the_present_one_for_those_who_may_go_there,
    a_former_name_is_nobodys_to_anybody_else,
);

/// The tenant `acme` with the namespace `fleet`, renamed to `emca`; its owner's key.
async fn renamed(rig: &Rig) -> String {
    let body = json!({"slug": "acme", "owner": "Ada"});
    let made = rig.operate("POST", "/tenants", &body).await;
    let key = bearer(&made.body["owner"]["key"]);
    let fleet = json!({"project": "fleet"});
    let made = rig.ask("POST", "/namespaces", &key, &fleet).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let slug = json!({"slug": "emca"});
    let changed = rig.ask("PUT", "/tenants/acme/slug", &key, &slug).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    rig.heard("emca", |_| true).await;
    rig.heard("emca--fleet", |_| true).await;
    key
}

fn location(answer: &Answer) -> Option<&str> {
    let mut lines = answer.head.lines();
    lines.find_map(|line| line.strip_prefix("location: "))
}

async fn a_former_name_leads_to_the_present_one_for_those_who_may_go_there(database: Database) {
    let rig = rig(database).await;
    let acme = renamed(&rig).await;
    for (path, to) in [
        ("/t/acme/devices?limit=5", "/t/emca/devices?limit=5"),
        ("/t/acme--fleet/tenant", "/t/emca--fleet/tenant"),
    ] {
        let moved = rig.ask("GET", path, &acme, &Value::Null).await;
        assert_eq!(moved.status, 308, "{path}: {}", moved.body);
        let kind = "https://laneway.dev/problems/tenant-renamed";
        assert_eq!(moved.body["type"], kind);
        assert_eq!(location(&moved), Some(to));
        let there = rig.ask("GET", to, &acme, &Value::Null).await;
        assert_eq!(there.status, 200, "{to}: {}", there.body);
    }
    let get = ("GET", "/devices?limit=5");
    let host = "acme.tenants.example:8080";
    let moved = rig.ask_host(host, get, &acme, &Value::Null).await;
    assert_eq!(moved.status, 308, "{}", moved.body);
    let to = "//emca.tenants.example:8080/devices?limit=5";
    assert_eq!(location(&moved), Some(to));
    // Nothing is done on the way.
    let truck = json!({"id": "truck"});
    let moved = rig.ask("POST", "/t/acme/devices", &acme, &truck).await;
    assert_eq!(moved.status, 308);
    let none = rig.ask("GET", "/devices/truck", &acme, &Value::Null).await;
    assert_eq!(none.status, 404);
    // Back again: each name leads where the other one was.
    let slug = json!({"slug": "acme"});
    rig.ask("PUT", "/tenants/emca/slug", &acme, &slug).await;
    rig.heard("acme", |_| true).await;
    let own = rig.ask("GET", "/t/acme/tenant", &acme, &Value::Null).await;
    assert_eq!(own.status, 200, "{}", own.body);
    let moved = rig.ask("GET", "/t/emca/tenant", &acme, &Value::Null).await;
    assert_eq!(location(&moved), Some("/t/acme/tenant"));
}

async fn a_former_name_is_nobodys_to_anybody_else(database: Database) {
    let rig = rig(database).await;
    renamed(&rig).await;
    let globex = rig.tenant("globex", &["tenant:admin"]).await;
    let operator = rig.operator_key().await;
    for key in ["", "Bearer nonsense", &globex, &operator] {
        let mut answers = Vec::new();
        for name in ["acme", "nobody", "acme--fleet"] {
            let path = format!("/t/{name}/tenant");
            answers.push(rig.ask("GET", &path, key, &Value::Null).await);
            let host = format!("{name}.tenants.example");
            let get = ("GET", "/tenant");
            answers.push(rig.ask_host(&host, get, key, &Value::Null).await);
        }
        for answer in &answers {
            assert_eq!(answer.status, answers[0].status);
            assert_eq!(answer.text, answers[0].text);
            assert_eq!(location(answer), None);
        }
    }
}
