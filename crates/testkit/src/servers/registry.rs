//! Apicurio Registry, which serves the Confluent schema registry API.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::process::ProcessGroup;
use super::{address, http, install};
use crate::ports;

const VERSION: &str = "3.0.9";
const START_BOUND: Duration = Duration::from_secs(90);

/// A schema registry with the compatibility rule BACKWARD, kept in memory.
///
/// A registration that it refuses still uses up an id.
#[derive(Debug)]
pub struct Registry {
    url: String,
    // Before the folder, so that the process is gone when its folder is removed.
    process: Option<Mutex<ProcessGroup>>,
    _folder: Option<TempDir>,
}

impl Registry {
    /// The one that `LANEWAY_TEST_REGISTRY` names, else a new one.
    pub async fn start() -> Result<Self> {
        if let Some(url) = address("LANEWAY_TEST_REGISTRY") {
            return Ok(Self {
                url: url.trim_end_matches('/').to_owned(),
                process: None,
                _folder: None,
            });
        }
        let installed = install::installed(&format!("apicurio-{VERSION}"))?;
        let folder = install::temporary_folder("registry")?;
        let (port, management) = (ports::free()?, ports::free()?);
        let mut command = Command::new(install::java());
        command
            .args([
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-jar",
            ])
            .arg(installed.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
            .current_dir(folder.path())
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", port.to_string())
            .env("QUARKUS_MANAGEMENT_HOST", "127.0.0.1")
            .env("QUARKUS_MANAGEMENT_PORT", management.to_string())
            .env("APICURIO_RULES_GLOBAL_COMPATIBILITY", "BACKWARD");
        let mut process = ProcessGroup::spawn(
            "the schema registry",
            &mut command,
            &folder.path().join("registry.log"),
        )?;
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        let subjects = format!("{url}/subjects");
        let ready = process.ready("the schema registry to answer", START_BOUND, || async {
            http::get(&subjects)
                .await
                .is_ok_and(|(status, _)| status == 200)
        });
        ready.await?;
        Ok(Self {
            url,
            process: Some(Mutex::new(process)),
            _folder: Some(folder),
        })
    }

    /// One for the whole test process.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Registry> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// The base of the Confluent API, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kill -9. What was registered is gone.
    pub fn kill(&self) -> Result<()> {
        let process = self
            .process
            .as_ref()
            .context("the registry of LANEWAY_TEST_REGISTRY is not ours to kill: unset it")?;
        let mut process = process
            .lock()
            .map_err(|_| anyhow!("the registry's lock is poisoned"))?;
        process.kill().map(drop)
    }
}
