//! The commands of the documents, in their order, each of which has to succeed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::laneway_binary;
use laneway_tests::deployment::{Deployment, Settings};
use laneway_tests::tenant::key;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::markdown::{blocks, blocks_in};
use super::truck;

const BOUND: Duration = Duration::from_secs(180);
/// What builds and starts is done before: not run again.
const DONE_BEFORE: [&str; 4] = ["make ", "cargo ", "laneway all", "docker compose"];

/// What a reader has besides the document: a program that is there, an address that is free, and
/// patience with what takes a moment to arrive.
const SETTING: &str = r#"
set -euo pipefail
laneway() {
    case "$1" in
        tail | send) LANEWAY_URL="$BASE" command laneway "$@" ;;
        *) command laneway "$@" ;;
    esac
}
curl() {
    case "$1" in
        # Ended by the reader's `sed`: that is 23.
        -N) command curl -fsS --max-time 60 "$@" || [ $? = 23 ] ;;
        *) command curl -sS --fail-with-body --max-time 60 --retry 30 --retry-delay 1 --retry-all-errors "$@" ;;
    esac
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("README.md").await?;
    std::fs::write(guide.folder.path().join("trace.gpx"), TRACE)?;
    let expected = [
        "\"accepted\":1",
        "3 accepted, 0 refused",
        "\"device_id\":\"truck-1\"",
    ];
    guide.follow("", &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_operations_guide_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("docs/operations.md").await?;
    guide.follow("", &["lwd_", "lwk_", "whsec_"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_audit_guide_work_and_its_verifier_agrees() -> Result<()> {
    let guide = Guide::open("docs/audit.md").await?;
    let printed = guide.printed("", &[]).await?;
    ensure!(
        printed.contains("truck-1") || printed.contains("tenant=audited"),
        "{printed}"
    );
    let verifier = blocks_in("docs/audit.md", "python")?.concat();
    let program = format!("{verifier}\nprint(*verify(open('trail.jsonl')))\n");
    let python = Command::new("python3")
        .args(["-c", &program])
        .current_dir(guide.folder.path())
        .output()
        .await
        .context("running python3, which the documents are for")?;
    let said = String::from_utf8_lossy(&python.stdout).into_owned();
    ensure!(
        python.status.success(),
        "the verifier of docs/audit.md failed: {}",
        String::from_utf8_lossy(&python.stderr)
    );
    let (entries, head) = said.trim().split_once(' ').context("two words")?;
    ensure!(entries == "2", "{said}");
    ensure!(printed.contains(head), "{head} is not in {printed}");
    guide.deployment.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_streams_guide_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("docs/stream.md").await?;
    guide.one_fix_of_a_truck().await?;
    let reader = key(&guide.deployment, "acme", "stream:read").await?;
    let expected = ["id: v1.", "data: {\"specversion\":\"1.0\""];
    guide.follow(&format!("KEY={reader}\n"), &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_tenancy_guide_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("docs/tenancy.md").await?;
    let deployment = &guide.deployment;
    deployment.admin(&["tenant", "create", "acme"]).await?;
    let owner = ["key", "create", "--tenant", "acme", "--role", "owner"];
    let owner = deployment.admin(&owner).await?;
    let setting = format!("KEY={}\n", owner["key"].as_str().context("a key")?);
    let expected = [
        "\"config\":{}",
        "\"name\":\"report\"",
        "\"former_until\":\"",
        "\"name\":\"importer\",\"role\":\"viewer\"",
        "\"slug\":\"acme--fleet--dev\"",
        "\"id\":\"truck-1\"",
        "\"title\":\"The database moves on Sunday\"",
        "\"slug\":\"corner-shop\"",
        "\"value\":{\"speed\":\"km/h\"}",
    ];
    guide.follow(&setting, &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_without_authentication_work_as_they_stand() -> Result<()> {
    let none = [("LANEWAY_AUTH_MODE", "none".to_owned())];
    let guide = Guide::open_with("docs/without-authentication.md", &none).await?;
    let expected = ["\"accepted\":1", "\"device_id\":\"truck-1\"", "  truck-1  "];
    guide.follow("", &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_partners_guide_work_as_they_stand() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    let (_, token) = truck(&deployment).await?;
    let fix = json!({ "recorded_at": "2026-01-31T12:00:00.5Z", "lat": 52.5, "lon": 13.4 });
    let sent = deployment.ingest.post("/location/update", &token, &fix);
    sent.await?.ok()?;
    let owner = ["key", "create", "--tenant", "acme", "--role", "owner"];
    let owner = deployment.admin(&owner).await?;
    let setting = format!("KEY={}\n", owner["key"].as_str().context("a key")?);
    let printed = run(&deployment, folder.path(), "docs/partners.md", &setting).await?;
    for expected in [
        "\"partner\":{\"id\":\"ten_",
        "\"slug\":\"logistics\"",
        "laneway.position",
        "data: {\"specversion\":\"1.0\"",
    ] {
        ensure!(printed.contains(expected), "no {expected} in {printed}");
    }
    deployment.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_devices_guide_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("docs/devices.md").await?;
    let deployment = &guide.deployment;
    deployment.admin(&["tenant", "create", "acme"]).await?;
    let admin = key(deployment, "acme", "devices:read,devices:write").await?;
    let expected = [
        "\"group\":\"south\",\"labels\":{}",
        "\"outcome\":\"created\"",
        "\"outcome\":\"exists\"",
        "\"complete\":true",
        "\"expires_at\":\"2099-01-01T00:00:00Z\"",
        "\"device_id\":\"van-7\",\"tenant\":\"acme\"",
        "serial=S-1",
        "\"audit\":[]",
        "\"processor_state\":0",
    ];
    guide.follow(&format!("KEY={admin}\n"), &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_usage_guide_work_as_they_stand() -> Result<()> {
    let guide = Guide::open("docs/usage.md").await?;
    guide.one_fix_of_a_truck().await?;
    let reader = key(&guide.deployment, "acme", "usage:read").await?;
    let columns = blocks_in("docs/usage.md", "csv")?.concat();
    let expected = ["\"day\":\"", columns.trim(), "SLUG"];
    guide.follow(&format!("KEY={reader}\n"), &expected).await
}

#[test]
fn every_block_of_commands_is_fenced_as_such_and_so_is_run() -> Result<()> {
    for document in [
        "README.md",
        "docs/operations.md",
        "docs/devices.md",
        "docs/partners.md",
        "docs/stream.md",
        "docs/tenancy.md",
        "docs/usage.md",
        "docs/webhooks.md",
        "docs/audit.md",
        "docs/without-authentication.md",
    ] {
        for block in blocks(document)? {
            let commands = block
                .text
                .lines()
                .any(|line| line.starts_with("laneway ") || line.starts_with("curl "));
            ensure!(
                !commands || block.language == "sh",
                "{document} has commands that no test runs:\n{}",
                block.text
            );
        }
    }
    Ok(())
}

/// A document, and a deployment of its own to follow it with.
struct Guide {
    document: &'static str,
    deployment: Deployment,
    folder: TempDir,
}

impl Guide {
    async fn open(document: &'static str) -> Result<Self> {
        Guide::open_with(document, &[]).await
    }

    async fn open_with(document: &'static str, settings: Settings<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let binary = laneway_binary()?;
        let deployment = Deployment::embedded_with(&binary, folder.path(), settings).await?;
        Ok(Guide {
            document,
            deployment,
            folder,
        })
    }

    async fn one_fix_of_a_truck(&self) -> Result<()> {
        let (_, token) = truck(&self.deployment).await?;
        let fix = json!({ "recorded_at": "2026-01-31T12:00:00.5Z", "lat": 52.5, "lon": 13.4 });
        let sent = self
            .deployment
            .ingest
            .post("/location/update", &token, &fix);
        sent.await?.ok()?;
        Ok(())
    }

    /// Runs the commands, and looks in what they print for what a reader expects.
    async fn follow(self, setting: &str, expected: &[&str]) -> Result<()> {
        self.printed(setting, expected).await?;
        self.deployment.stop().await
    }

    async fn printed(&self, setting: &str, expected: &[&str]) -> Result<String> {
        let printed = run(&self.deployment, self.folder.path(), self.document, setting).await?;
        for expected in expected {
            ensure!(printed.contains(expected), "no {expected} in {printed}");
        }
        Ok(printed)
    }
}

/// What the commands of a document printed.
async fn run(
    deployment: &Deployment,
    folder: &Path,
    document: &str,
    setting: &str,
) -> Result<String> {
    let base = deployment.control.base();
    let mut script = format!("{SETTING}BASE={base}\n{setting}");
    for line in blocks_in(document, "sh")?.concat().lines() {
        if !DONE_BEFORE.iter().any(|start| line.starts_with(start)) {
            script.push_str(&line.replace("http://localhost:8080", base));
            script.push('\n');
        }
    }
    let binary = laneway_binary()?;
    let programs = binary.parent().context("the binary is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"LANEWAY_") {
            shell.env_remove(name);
        }
    }
    shell
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, shell.output())
        .await
        .with_context(|| format!("the commands of {document} do not end:\n{script}"))?
        .context("running bash, which the commands of the documents are for")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "the commands of {document} failed ({}; curl has to be installed):\n{script}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}

/// Twenty seconds of a way.
const TRACE: &str = r#"<?xml version="1.0"?>
<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="52.50" lon="13.40"><time>2026-01-01T12:00:00Z</time></trkpt>
<trkpt lat="52.51" lon="13.41"><time>2026-01-01T12:00:10Z</time></trkpt>
<trkpt lat="52.52" lon="13.42"><time>2026-01-01T12:00:20Z</time></trkpt>
</trkseg></trk></gpx>
"#;
