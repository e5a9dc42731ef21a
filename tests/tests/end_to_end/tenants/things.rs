//! What the tenant `shop` has, and what is sent to a route so that it can be done.

use std::time::Duration;

use anyhow::{Context, Result};
use laneway_testkit::wait;
use laneway_tests::client::Client;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::text;
use serde_json::{Value, json};

use super::family::Family;
use super::table::Route;

/// Of the tenant alone.
const SCHEMA: &str = r#"{"type":"record","name":"Kept","namespace":"shop","fields":[]}"#;
const BOUND: Duration = Duration::from_secs(180);

pub struct Things {
    api: Client,
    operator: String,
    /// Of `shop`.
    owner: String,
    /// Makes names that are new.
    made: u32,
    account: String,
    grant: String,
    credential: String,
    destination: String,
    key: String,
    provisioning_key: String,
    /// The id of the schema of `shop.kept`.
    schema: u64,
}

impl Things {
    pub async fn make(deployment: &Deployment, family: &Family) -> Result<Self> {
        let mut things = Things {
            api: deployment.control.clone(),
            operator: family.operator.clone(),
            owner: family.owner.clone(),
            made: 0,
            account: String::new(),
            grant: String::new(),
            credential: String::new(),
            destination: String::new(),
            key: String::new(),
            provisioning_key: String::new(),
            schema: 0,
        };
        things.create("/devices", json!({"id": "truck"})).await?;
        things.account = things.fresh("{account}").await?;
        things.grant = things.fresh("{grant}").await?;
        let at = "/devices/truck/credentials";
        let credential = things.create(at, json!({"kind": "token"})).await?;
        things.credential = text(&credential, "id")?;
        things.destination = things.fresh("{destination}").await?;
        things.key = things.fresh("{key}").await?;
        things.provisioning_key = things.fresh("{provisioning_key}").await?;
        let host = json!({"host": "tracks.shop.example"});
        things.create("/hosts", host).await?;
        let config = "/tenants/shop/config/units";
        things
            .api
            .put(config, &things.operator, &json!("km"))
            .await?
            .ok()?;
        things.schema = things.subject("shop.kept").await?;
        things.drive(deployment).await?;
        Ok(things)
    }

    /// A session and a fix of the truck, which come to be seen.
    async fn drive(&self, deployment: &Deployment) -> Result<()> {
        let credential = json!({"kind": "token"});
        let token = self.create("/devices/truck/credentials", credential);
        let token = text(&token.await?, "token")?;
        let session = json!({"session_id": "s-1"});
        let ingest = &deployment.ingest;
        let started = ingest.post("/location/session/start", &token, &session);
        started.await?.ok()?;
        let fix = fix();
        let sent = ingest.post("/location/update", &token, &fix);
        sent.await?.ok()?;
        for (api, path) in [
            (&self.api, "/tenants/shop/devices/truck/position"),
            (ingest, "/location/session/s-1"),
        ] {
            let key = if path.starts_with("/location") {
                &token
            } else {
                &self.operator
            };
            wait::until(path, BOUND, || async {
                let answer = api.get(path, key).await;
                answer.is_ok_and(|answer| answer.status.is_success())
            })
            .await?;
        }
        Ok(())
    }

    async fn create(&self, path: &str, body: Value) -> Result<Value> {
        let path = format!("/tenants/shop{path}");
        let made = self.api.post(&path, &self.operator, &body).await?;
        made.ok()
            .with_context(|| format!("making {body} at {path}"))
    }

    /// The id of its schema.
    async fn subject(&self, name: &str) -> Result<u64> {
        let path = format!("/registry/subjects/{name}/versions");
        let schema = json!({"schema": SCHEMA});
        let made = self.api.post(&path, &self.owner, &schema).await?.ok()?;
        let level = format!("/registry/config/{name}");
        let any = json!({"compatibility": "NONE"});
        self.api.put(&level, &self.owner, &any).await?.ok()?;
        made["id"].as_u64().context("the id of a schema")
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("n{}", self.made)
    }

    /// Makes what a placeholder stands for.
    async fn fresh(&mut self, placeholder: &str) -> Result<String> {
        let name = self.new_name();
        let (path, body, field) = match placeholder {
            "{device}" => ("/devices", json!({"id": name}), "id"),
            "{destination}" => ("/destinations", webhook(), "id"),
            "{grant}" => ("/grants", granted(), "id"),
            "{account}" => (
                "/service-accounts",
                json!({"name": name, "role": "viewer"}),
                "id",
            ),
            "{key}" => ("/keys", json!({"name": name, "role": "viewer"}), "id"),
            "{provisioning_key}" => ("/provisioning-keys", json!({"name": name}), "id"),
            "{host}" => ("/hosts", json!({"host": format!("{name}.example")}), "host"),
            "{subject}" => {
                let subject = format!("shop.{name}");
                self.subject(&subject).await?;
                return Ok(subject);
            }
            other => anyhow::bail!("nothing is known of {other}"),
        };
        text(&self.create(path, body).await?, field)
    }

    /// The path of a route, of things that there are. What it removes is made for it.
    pub async fn path(&mut self, route: &Route, caller: &str) -> Result<String> {
        let mut path = route.path.replace("{tenant}", "shop");
        if let Some(start) = path.find("/config/{key}") {
            let tenants = &path[..start];
            let key = format!("{tenants}/config/units");
            let config = "/tenants/shop/config/units";
            self.api
                .put(config, &self.operator, &json!("km"))
                .await?
                .ok()?;
            return Ok(key);
        }
        if route.method == "DELETE" {
            let last = path.rfind('{').context("a thing that is removed")?;
            let end = path[last..].find('}').context("a placeholder")?;
            let placeholder = match &path[last..=last + end] {
                "{version}" => "{subject}".to_owned(),
                placeholder => placeholder.to_owned(),
            };
            if placeholder == "{credential}" {
                // A device has no room for many.
                let device = self.fresh("{device}").await?;
                path = path.replace("{device}", &device);
                let at = format!("/devices/{device}/credentials");
                let made = self.create(&at, json!({"kind": "token"})).await?;
                path = path.replace("{credential}", &text(&made, "id")?);
            } else {
                let fresh = self.fresh(&placeholder).await?;
                path = path.replace(&placeholder, &fresh);
            }
        }
        if route.path.starts_with("/location/session/") {
            path = path.replace("{id}", "s-1");
            // A device asks for its own.
            if route.method == "GET" && caller != "device" {
                path += "?device_id=truck";
            }
        }
        Ok(path
            .replace("{account}", &self.account)
            .replace("{grant}", &self.grant)
            .replace("{device}", "truck")
            .replace("{credential}", &self.credential)
            .replace("{destination}", &self.destination)
            .replace("{provisioning_key}", &self.provisioning_key)
            .replace("{key}", &self.key)
            .replace("{host}", "tracks.shop.example")
            .replace("{subject}", "shop.kept")
            .replace("{version}", "1")
            .replace("{id}", &self.schema.to_string()))
    }

    /// A body with which a route can be done.
    pub fn body(&mut self, route: &Route, caller: &str) -> Option<String> {
        if !["POST", "PUT", "PATCH"].contains(&route.method.as_str()) {
            return None;
        }
        let name = self.new_name();
        let device = if caller == "device" { "van" } else { "truck" };
        let body = match (route.method.as_str(), route.own()) {
            ("PUT", "/config/{key}") => json!("km"),
            ("POST", "/destinations") => webhook(),
            ("PATCH", "/destinations/{destination}") => json!({"state": "active"}),
            ("POST", "/destinations/{destination}/dead-letters/redrive") => json!({"all": true}),
            ("POST", "/devices" | "/devices/bulk") => json!({"id": name}),
            ("PATCH", "/devices/{device}") => json!({"name": "Truck"}),
            ("POST", "/devices/{device}/credentials") => json!({"kind": "token"}),
            ("POST", "/enrol") => json!({"device_id": name}),
            ("POST", "/grants") => granted(),
            ("POST", "/hosts") => json!({"host": format!("{name}.example")}),
            ("PUT", "/hosts/{host}/certificate") => json!({"certificate": "none", "key": "none"}),
            ("POST", "/keys" | "/service-accounts") => json!({"name": name, "role": "viewer"}),
            ("PATCH", "/keys/{key}" | "/service-accounts/{account}") => json!({ "name": name }),
            ("POST", "/namespaces") => json!({"project": name}),
            ("POST", "/operator/keys" | "/provisioning-keys") => json!({"name": name}),
            ("POST", "/operator/quarantine/redrive") => {
                json!({"matching": {"reason": "unknown-device"}})
            }
            ("PUT", "/registry/config" | "/registry/config/{subject}") => {
                json!({"compatibility": "BACKWARD"})
            }
            ("POST", path) if path.starts_with("/registry/") => json!({"schema": SCHEMA}),
            ("POST", "/tenants" | "/partners") => json!({"slug": format!("made-{name}")}),
            ("POST", "/admin/tenants") => json!({"tenant_id": format!("made-{name}"), "hosts": []}),
            ("PUT", "/tenants/{tenant}") => json!({"name": "Shop"}),
            ("PUT", "/limits") => json!({}),
            ("PUT", "/slug") => json!({"slug": "shop"}),
            ("PUT", "/state") => json!({"state": "active"}),
            ("POST", "/location/session/start") => {
                json!({"device_id": device, "session_id": name})
            }
            ("POST", "/location/update") => {
                let mut fix = fix();
                fix["device_id"] = json!(device);
                fix
            }
            ("POST", "/location/session/{id}/stop") => json!({"device_id": device}),
            _ => json!({}),
        };
        Some(body.to_string())
    }
}

/// To the partner.
fn granted() -> Value {
    let until = "2099-01-01T00:00:00Z";
    json!({"partner": "weather", "event_types": ["laneway.position"], "expires_at": until})
}

fn webhook() -> Value {
    json!({"kind": "webhook", "url": "https://example.com/hook"})
}

fn fix() -> Value {
    json!({"recorded_at": "2026-01-31T12:00:00Z", "lat": 52.5, "lon": 13.4})
}
