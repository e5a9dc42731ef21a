//! Tenants in databases of their own, with the whole program: where their positions are, and that
//! nothing of them is lost when the process is killed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use laneway_testkit::{laneway_binary, wait};
use laneway_tests::client::Client;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::{device_token, key};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Row};

const BOUND: Duration = Duration::from_secs(60);
const SHARDS: &str = "eu=sqlite:{data_dir}/eu.db";

/// A tenant with the device `truck`.
struct Fleet {
    id: String,
    admin: String,
    token: String,
}

impl Fleet {
    async fn create(deployment: &Deployment, slug: &str, database: &str) -> Result<Self> {
        let args = ["tenant", "create", slug, "--database", database];
        let made = deployment.admin(&args).await?;
        ensure!(made["database"] == database, "{made}");
        let admin = key(deployment, slug, "tenant:admin,positions:read").await?;
        let control = &deployment.control;
        let device = json!({ "id": "truck" });
        control.post("/devices", &admin, &device).await?.ok()?;
        Ok(Fleet {
            id: made["id"].as_str().context("an id")?.to_owned(),
            token: device_token(control, &admin, "truck").await?,
            admin,
        })
    }

    /// Sends a fix, and waits until it is the latest position.
    async fn moves_to(&self, client: &Client, recorded_at: &str) -> Result<()> {
        let fix = json!({ "recorded_at": recorded_at, "lat": 52.5, "lon": 13.4 });
        client
            .post("/location/update", &self.token, &fix)
            .await?
            .ok()?;
        wait::until("the position", BOUND, || async {
            let found = client.get("/devices/truck/position", &self.admin).await;
            found.is_ok_and(|found| {
                found.status == StatusCode::OK && found.text.contains(recorded_at)
            })
        })
        .await
    }
}

/// The tenants that a file has positions of.
async fn tenants_in(file: &Path) -> Result<Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await?;
    let rows = sqlx::query("SELECT tenant_id FROM latest_positions")
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_in_the_tenants_database_and_survive_a_kill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = [("LANEWAY_STORE_SHARDS_URLS", SHARDS.to_owned())];
    let binary = laneway_binary()?;
    let mut deployment = Deployment::embedded_with(&binary, folder.path(), &settings).await?;
    let acme = Fleet::create(&deployment, "acme", "eu").await?;
    let globex = Fleet::create(&deployment, "globex", "main").await?;
    let client = deployment.ingest.clone();
    for fleet in [&acme, &globex] {
        fleet.moves_to(&client, "2026-01-31T12:00:00.500Z").await?;
    }
    let node = deployment.node("all")?;
    node.kill()?;
    node.restart()?;
    node.ready().await?;
    for fleet in [&acme, &globex] {
        fleet.moves_to(&client, "2026-01-31T12:01:00.500Z").await?;
    }
    let data = folder.path().join("data");
    assert_eq!(tenants_in(&data.join("eu.db")).await?, [acme.id.as_str()]);
    assert_eq!(
        tenants_in(&data.join("laneway.db")).await?,
        [globex.id.as_str()]
    );
    let made = deployment.admin(&["backup"]).await?;
    let backup = made["folder"].as_str().context("a folder")?;
    let restored = folder.path().join("restored");
    let restore = |settings: &[(&str, &str)]| {
        let mut command = std::process::Command::new(&binary);
        command.args(["restore", "--from", backup]);
        command.env("LANEWAY_DATA_DIR", &restored);
        command.envs(settings.iter().copied()).output()
    };
    let refused = restore(&[])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("the database eu"),
        "{said}"
    );
    ensure!(!restored.exists(), "half of the backup was put back");
    let done = restore(&[("LANEWAY_STORE_SHARDS_URLS", SHARDS)])?;
    ensure!(done.status.success(), "{done:?}");
    assert_eq!(tenants_in(&restored.join("eu.db")).await?, [acme.id]);
    assert_eq!(tenants_in(&restored.join("laneway.db")).await?, [globex.id]);
    deployment.stop().await
}
