//! A tenant's whole life: made, divided, used up, suspended, resumed and closed, beside others
//! that are none of its business.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};
use laneway_testkit::{Database, embedded_only, laneway_binary, wait};
use laneway_tests::client::{Client, Reply};
use laneway_tests::deployment::{Deployment, Servers, Settings};
use laneway_tests::receiver::Receiver;
use laneway_tests::subscriber::Subscriber;
use laneway_tests::tenant::text;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(180);
const DEVICES: usize = 20;
/// What `shop` may send in a day.
const QUOTA: u64 = 500;

/// With a tier of its own for one tenant, whose database is `database`.
fn settings(database: &str) -> Vec<(&'static str, String)> {
    vec![
        ("LANEWAY_HOSTS_TENANT_DOMAIN", "tenants.example".to_owned()),
        ("LANEWAY_LOG_TOPIC_SETS", "fleets".to_owned()),
        ("LANEWAY_STORE_SHARDS_URLS", format!("fleets={database}")),
        ("LANEWAY_STORE_SHARDS_DEDICATED", "fleets".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_beside_others_on_the_embedded_default() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = settings("sqlite:{data_dir}/fleets.db");
    let binary = laneway_binary()?;
    let deployment = Deployment::embedded_with(&binary, folder.path(), &settings).await?;
    live(deployment, folder.path()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_beside_others_where_the_roles_are_apart() -> Result<()> {
    if embedded_only("a tenant's life where the roles are apart") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("life", 4).await?;
    let fleets = Database::Postgres.empty().await?;
    let settings: Settings<'_> = &settings(&fleets.url);
    let binary = laneway_binary()?;
    let deployment =
        Deployment::distributed_with(&binary, folder.path(), &servers, settings).await?;
    live(deployment, folder.path()).await
}

async fn live(deployment: Deployment, folder: &std::path::Path) -> Result<()> {
    let api = &deployment.control;
    let operator = deployment.admin(&["operator-key", "create"]).await?;
    let operator = text(&operator, "key")?;
    let file = folder.join("devices.csv");
    let ids: String = (0..DEVICES).map(|i| format!("truck-{i}\n")).collect();
    std::fs::write(&file, format!("id\n{ids}"))?;

    let limits = json!({"devices": 100, "events_per_day": 100_000});
    // With topics and a database of its own, which those below it share with it and nobody else.
    let body = json!({"slug": "acme", "owner": "Ada", "limits": limits, "topics": "fleets",
        "database": "fleets"});
    let mut acme = Home::found(&deployment, ("/tenants", &operator), &body).await?;
    let limits = json!({"devices": DEVICES, "events_per_day": QUOTA});
    let body = json!({"slug": "shop", "owner": "Bob", "limits": limits});
    let mut shop = Home::found(&deployment, ("/tenants/acme/tenants", &acme.owner), &body).await?;
    let body = json!({"slug": "globex", "owner": "Eve"});
    let mut globex = Home::found(&deployment, ("/tenants", &operator), &body).await?;
    let own = api.get("/tenant", &acme.owner).await?.ok()?;
    ensure!(
        own["own_limits"]["devices"] == 100 - DEVICES,
        "what shop was given is acme's no more: {own}"
    );

    // The same names in each.
    for home in [&mut acme, &mut shop, &mut globex] {
        home.furnish(&deployment, &file).await?;
        home.drive(&deployment, 10).await?;
    }
    for home in [&acme, &shop, &globex] {
        home.all_has_come("everywhere and nowhere else").await?;
    }
    by_host_and_path(&deployment, &acme, &shop, &globex).await?;

    partner_reads(&deployment, &operator, &shop).await?;
    notices_are_everybodys(&deployment, &operator, [&acme, &shop]).await?;

    // A quota is used up by its own tenant alone.
    let refused = shop.exhaust(&deployment).await?;
    ensure!(
        refused.status == StatusCode::TOO_MANY_REQUESTS
            && refused.body["type"] == "https://laneway.dev/problems/quota-exceeded"
            && refused.retry_after().is_some(),
        "{refused:?}"
    );
    ensure!(shop.sent <= QUOTA, "{} of {QUOTA} let in", shop.sent);
    acme.drive(&deployment, 1).await?;
    wait::until("the usage of shop", BOUND, || async {
        let usage = api.get("/usage", &shop.owner).await;
        let events = |usage: Value| {
            let days = usage["days"].as_array().cloned().unwrap_or_default();
            days.iter()
                .filter_map(|day| day["events"].as_u64())
                .sum::<u64>()
        };
        usage.is_ok_and(|usage| usage.ok().is_ok_and(|usage| events(usage) == shop.sent))
    })
    .await?;
    let warned = || {
        shop.subscriber
            .with_tally(|t| t.by_type().get("laneway.quota.warning").copied())
    };
    wait::until("the warning at 80 %", BOUND, || async {
        warned() == Some(1)
    })
    .await?;
    let more = json!({"devices": DEVICES, "events_per_day": QUOTA * 4});
    api.put("/tenants/shop/limits", &acme.owner, &more)
        .await?
        .ok()?;
    wait::until("a quota that was raised", BOUND, || async {
        let body = json!({"fixes": [fix(shop.sent)]});
        let ingest = &deployment.ingest;
        let sent = ingest.post("/location/update", shop.token(0), &body);
        sent.await.is_ok_and(|sent| sent.status.is_success())
    })
    .await?;
    shop.sent += 1;

    // Suspended, and all below it with it; the others go on.
    api.put(
        "/tenants/acme/state",
        &operator,
        &json!({"state": "suspended"}),
    )
    .await?
    .ok()?;
    for home in [&acme, &shop] {
        home.until_answered(&deployment, StatusCode::FORBIDDEN)
            .await?;
    }
    globex.drive(&deployment, 1).await?;
    globex.all_has_come("while others are suspended").await?;
    api.put(
        "/tenants/acme/state",
        &operator,
        &json!({"state": "active"}),
    )
    .await?
    .ok()?;
    for home in [&acme, &shop] {
        home.until_answered(&deployment, StatusCode::NOT_FOUND)
            .await?;
    }
    acme.drive(&deployment, 2).await?;
    shop.drive(&deployment, 2).await?;
    for home in [&acme, &shop] {
        home.all_has_come("after it was resumed").await?;
    }

    // Closed by the one above it, and gone.
    api.put(
        "/tenants/shop/state",
        &acme.owner,
        &json!({"state": "closing"}),
    )
    .await?
    .ok()?;
    wait::until("the closure of shop", BOUND, || async {
        let closure = api.get("/tenants/shop/closure", &operator).await;
        closure.is_ok_and(|c| c.status.is_success() && !c.body["closed_at"].is_null())
    })
    .await?;
    let closure = api.get("/tenants/shop/closure", &operator).await?.ok()?;
    ensure!(
        !closure["erased"].as_array().is_none_or(Vec::is_empty),
        "{closure}"
    );
    let gone = shop.ask(&deployment).await?;
    ensure!(
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&gone.status),
        "{gone:?}"
    );
    let devices = api.get("/tenants/shop/devices", &operator).await?.ok()?;
    ensure!(devices["items"] == json!([]), "{devices}");
    for home in [&mut acme, &mut globex] {
        home.drive(&deployment, 1).await?;
        home.all_has_come("after another was closed").await?;
    }
    deployment.stop().await
}

/// What the operator tells is in every tenant's reach, beside what the processes tell of
/// themselves.
async fn notices_are_everybodys(
    deployment: &Deployment,
    operator: &str,
    homes: [&Home; 2],
) -> Result<()> {
    let api = &deployment.control;
    let told = json!({"title": "The map is redrawn on Sunday", "kind": "maintenance"});
    api.post("/operator/notices", operator, &told).await?.ok()?;
    let refused = api
        .post("/operator/notices", &homes[0].owner, &told)
        .await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{refused:?}");
    let runtime = api.get("/tenants/runtime", operator).await?.ok()?;
    let runtime = text(&runtime, "id")?;
    for home in homes {
        let stream = deployment.stream.replace("/stream", "/t/runtime/stream");
        let reader = Subscriber::start(stream, home.owner.clone(), &runtime);
        wait::until("the notices", BOUND, || async {
            // The processes' own: each serves.
            reader.with_tally(|t| t.by_type().get("laneway.notice").copied()) >= Some(2)
        })
        .await?;
        let body = json!({"device_id": "truck-0", "fixes": [fix(1)]});
        let write = deployment
            .ingest
            .post("/t/runtime/location/update", &home.owner, &body);
        let write = write.await?;
        ensure!(write.status == StatusCode::FORBIDDEN, "{write:?}");
    }
    Ok(())
}

/// Names lead to the tenant, and prove nothing.
async fn by_host_and_path(
    deployment: &Deployment,
    acme: &Home,
    shop: &Home,
    globex: &Home,
) -> Result<()> {
    let at = |home: &Home| {
        let host = [(http::header::HOST, "shop.tenants.example")];
        let owner = home.owner.clone();
        async move { get_with(&deployment.control, "/tenant", &owner, &host).await }
    };
    wait::until("the host of shop", BOUND, || async {
        at(shop).await.is_ok_and(|r| r.body["slug"] == "shop")
    })
    .await?;
    let mismatch = at(globex).await?;
    ensure!(mismatch.status == StatusCode::FORBIDDEN, "{mismatch:?}");
    for (home, status) in [(shop, StatusCode::OK), (globex, StatusCode::FORBIDDEN)] {
        let path = "/t/shop/tenant";
        let answer = deployment.control.get(path, &home.owner).await?;
        ensure!(answer.status == status, "{}: {answer:?}", home.slug);
    }
    let fix = json!({"fixes": [fix(0)]});
    let foreign = deployment
        .ingest
        .post("/t/shop/location/update", acme.token(0), &fix)
        .await?;
    ensure!(
        foreign.status == StatusCode::FORBIDDEN
            && foreign.body["type"] == "https://laneway.dev/problems/tenant-mismatch",
        "{foreign:?}"
    );
    Ok(())
}

/// A partner reads what it is granted of one tenant, until that is revoked.
async fn partner_reads(deployment: &Deployment, operator: &str, shop: &Home) -> Result<()> {
    let api = &deployment.control;
    let partner = json!({"slug": "weather", "owner": "Pat"});
    let partner = api.post("/partners", operator, &partner).await?.ok()?;
    let key = text(&partner["owner"], "key")?;
    let grant = json!({
        "partner": "weather",
        "event_types": ["laneway.position"],
        "devices": ["truck-1", "truck-2"],
        "expires_at": "2099-01-01T00:00:00Z",
    });
    let grant = api.post("/grants", &shop.owner, &grant).await?.ok()?;
    let grant = text(&grant, "id")?;
    let listed = api.get("/partner/grants", &key).await?.ok()?;
    ensure!(listed["items"][0]["id"] == *grant, "{listed}");
    let stream = format!("{}?grant={grant}", deployment.stream);
    let reader = Subscriber::start(stream, key.clone(), &shop.id);
    let expected = 2 * shop.sent / DEVICES as u64;
    let seen = || reader.with_tally(|t| (t.positions(), t.leaked(), t.by_type().len()));
    wait::until("what was granted", BOUND, || async {
        seen() == (expected, 0, 1)
    })
    .await
    .with_context(|| format!("{:?} of {expected}", seen()))?;
    let connected = reader.connections();
    let revoked = api.delete(&format!("/grants/{grant}"), &shop.owner).await?;
    ensure!(revoked.status.is_success(), "{revoked:?}");
    wait::until("the partner's stream to end", BOUND, || async {
        let nothing = api.get("/partner/grants", &key).await;
        nothing.is_ok_and(|r| r.body["items"] == json!([])) && !reader.is_open()
    })
    .await?;
    ensure!(connected > 0 && seen() == (expected, 0, 1), "{:?}", seen());
    Ok(())
}

async fn get_with(
    client: &Client,
    path: &str,
    key: &str,
    headers: &[(HeaderName, &str)],
) -> Result<Reply> {
    client
        .send_with(Method::GET, path, key, headers, Bytes::new())
        .await
}

/// A tenant with its devices, a webhook and a websocket.
struct Home {
    id: String,
    slug: String,
    owner: String,
    tokens: BTreeMap<String, String>,
    receiver: Receiver,
    subscriber: Subscriber,
    /// Fixes that were accepted.
    sent: u64,
}

impl Home {
    /// By the operator, or by the tenant above.
    async fn found(deployment: &Deployment, by: (&str, &str), body: &Value) -> Result<Self> {
        let api = &deployment.control;
        let (path, key) = by;
        let made = api.post(path, key, body).await?.ok()?;
        let id = text(&made, "id")?;
        let owner = text(&made["owner"], "key")?;
        let receiver = Receiver::start(&id).await?;
        let webhook = json!({"kind": "webhook", "url": receiver.url()});
        let webhook = api.post("/destinations", &owner, &webhook).await?.ok()?;
        receiver.trust(&text(&webhook, "secret")?)?;
        let stream = deployment.stream.clone();
        Ok(Home {
            slug: text(&made, "slug")?,
            subscriber: Subscriber::start(stream, owner.clone(), &id),
            id,
            owner,
            tokens: BTreeMap::new(),
            receiver,
            sent: 0,
        })
    }

    /// Registers its devices, all at once.
    async fn furnish(&mut self, deployment: &Deployment, file: &std::path::Path) -> Result<()> {
        let file = file.to_str().context("a path in UTF-8")?;
        let import = ["admin", "device", "import", "--tenant", &self.slug, file];
        let output = deployment.command(&[&import[..], &["--tokens"]].concat());
        let output = output.await?;
        let printed = String::from_utf8(output.stdout)?;
        let pairs = printed.lines().filter_map(|line| line.split_once(','));
        let tokens = pairs.filter(|(_, token)| token.starts_with("lwd_"));
        self.tokens = tokens
            .map(|(id, token)| (id.to_owned(), token.to_owned()))
            .collect();
        let failed = String::from_utf8_lossy(&output.stderr);
        ensure!(self.tokens.len() == DEVICES, "{printed}{failed}");
        Ok(())
    }

    fn token(&self, device: usize) -> &str {
        &self.tokens[&format!("truck-{device}")]
    }

    /// Each device sends so many fixes.
    async fn drive(&mut self, deployment: &Deployment, fixes: u64) -> Result<()> {
        for token in self.tokens.values() {
            let fixes: Vec<Value> = (self.sent..self.sent + fixes).map(fix).collect();
            let body = json!({"fixes": fixes});
            let sent = deployment.ingest.post("/location/update", token, &body);
            let outcome = sent.await?.ok().with_context(|| self.slug.clone())?;
            let accepted = outcome["accepted"].as_u64().unwrap_or_default();
            ensure!(accepted == fixes.len() as u64, "{}: {outcome}", self.slug);
            self.sent += accepted;
        }
        Ok(())
    }

    /// Sends until it is refused.
    async fn exhaust(&mut self, deployment: &Deployment) -> Result<Reply> {
        loop {
            let fixes: Vec<Value> = (self.sent..self.sent + 25).map(fix).collect();
            let body = json!({"fixes": fixes});
            let sent = deployment
                .ingest
                .post("/location/update", self.token(0), &body);
            let sent = sent.await?;
            if !sent.status.is_success() {
                return Ok(sent);
            }
            self.sent += 25;
            ensure!(self.sent < QUOTA * 2, "nothing is refused");
        }
    }

    /// Both of its receivers have all that was accepted, and nothing of anybody else's.
    async fn all_has_come(&self, when: &str) -> Result<()> {
        let here = || self.subscriber.with_tally(|t| (t.positions(), t.leaked()));
        let there = || {
            let tally = self.receiver.tally();
            (tally.positions(), tally.leaked())
        };
        let what = format!("all of {} {when}", self.slug);
        let whole = (self.sent, 0);
        let come = wait::until(&what, BOUND, || async {
            here() == whole && there() == whole
        });
        come.await.with_context(|| {
            let (here, there) = (here(), there());
            format!("{here:?} by websocket and {there:?} by webhook of {whole:?}")
        })
    }

    /// What its first device is answered, which asks for a session that it does not have.
    async fn ask(&self, deployment: &Deployment) -> Result<Reply> {
        deployment
            .ingest
            .get("/location/session/none", self.token(0))
            .await
    }

    async fn until_answered(&self, deployment: &Deployment, status: StatusCode) -> Result<()> {
        let what = format!("{} to be answered {status}", self.slug);
        wait::until(&what, BOUND, || async {
            self.ask(deployment).await.is_ok_and(|r| r.status == status)
        })
        .await
    }
}

/// Each its own second of a day.
fn fix(number: u64) -> Value {
    let (hours, minutes, seconds) = (number / 3600, number / 60 % 60, number % 60);
    let at = format!("2026-01-31T{hours:02}:{minutes:02}:{seconds:02}Z");
    json!({"recorded_at": at, "lat": 52.5, "lon": 13.4})
}
