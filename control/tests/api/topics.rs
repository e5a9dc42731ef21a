//! Topics of a tenant's own: chosen by the operator when it is created.

use std::time::Duration;

use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{PARTITIONS, Rig, TOPIC_SET, bearer, rig};

laneway_testkit::on_both_databases!(
    a_tenant_has_topics_to_itself_with_those_below_it,
    topics_are_those_that_there_are_and_free,
);

fn lanes(tenant: &Value) -> Vec<u32> {
    let lanes = tenant["lanes"].as_array().unwrap().iter();
    lanes.map(|l| l.as_u64().unwrap() as u32).collect()
}

async fn a_tenant_has_topics_to_itself_with_those_below_it(database: Database) {
    let rig = rig(database).await;
    let new = json!({"slug": "acme", "topics": TOPIC_SET, "owner": "Ada", "lanes": 3});
    let made = rig.operate("POST", "/tenants", &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["topics"], TOPIC_SET);
    let acme = bearer(&made.body["owner"]["key"]);
    let (_, own) = rig.get("/tenant", &acme).await;
    assert_eq!((lanes(&own).len(), own.get("topics")), (3, None));

    let shop = json!({"slug": "shop"});
    let below = rig.ask("POST", "/tenants/acme/tenants", &acme, &shop).await;
    let fleet = json!({"project": "fleet"});
    let namespace = rig.ask("POST", "/namespaces", &acme, &fleet).await;
    for tenant in [&made, &below, &namespace] {
        assert_eq!(tenant.status, 201, "{}", tenant.body);
        let lanes = lanes(&tenant.body);
        let own = |lane: &u32| (PARTITIONS..2 * PARTITIONS).contains(lane);
        assert!(lanes.iter().all(own), "{lanes:?}");
    }
    for slug in ["shop", "acme--fleet"] {
        let path = format!("/tenants/{slug}");
        let shown = rig.operate("GET", &path, &Value::Null).await;
        assert_eq!(shown.body["topics"], TOPIC_SET, "{slug}");
    }
    let globex = json!({"slug": "globex"});
    let made = rig.operate("POST", "/tenants", &globex).await;
    assert_eq!(made.body.get("topics"), None);
    assert!(lanes(&made.body).iter().all(|lane| *lane < PARTITIONS));

    let chosen = json!({"slug": "mall", "topics": TOPIC_SET});
    let path = "/tenants/globex/tenants";
    let refused = rig.operate("POST", path, &chosen).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let path = "/tenants/acme/tenants";
    let refused = rig.ask("POST", path, &acme, &chosen).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
}

async fn topics_are_those_that_there_are_and_free(database: Database) {
    let rig = rig(database).await;
    let create = async |slug: &str, name: &str| {
        let registration = json!({"tenant_id": slug, "hosts": [], "topics": name});
        let made = rig.operate("POST", "/admin/tenants", &registration).await;
        made.status
    };
    assert_eq!(create("acme", "mars").await, 422);
    assert_eq!(create("acme", TOPIC_SET).await, 201);
    assert_eq!(create("globex", TOPIC_SET).await, 409);
    close(&rig, "acme").await;
    assert_eq!(create("globex", TOPIC_SET).await, 201);
}

async fn close(rig: &Rig, slug: &str) {
    let path = format!("/tenants/{slug}/state");
    let closing = rig
        .operate("PUT", &path, &json!({"state": "closing"}))
        .await;
    assert_eq!(closing.status, 200, "{}", closing.body);
    let path = format!("/tenants/{slug}/closure");
    until("the closure", Duration::from_secs(30), || async {
        let closure = rig.operate("GET", &path, &Value::Null).await;
        !closure.body["closed_at"].is_null()
    })
    .await
    .unwrap();
}
