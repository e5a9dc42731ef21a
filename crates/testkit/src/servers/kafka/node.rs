//! One node of a test cluster: a Java process with a folder and ports of its own.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::settings::{self, Ports, Security};
use super::wire;
use crate::ports;
use crate::servers::install;
use crate::servers::process::ProcessGroup;

const START_BOUND: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub struct Node {
    pub id: usize,
    pub ports: Ports,
    folder: PathBuf,
    java: Vec<OsString>,
    process: Mutex<Option<ProcessGroup>>,
}

impl Node {
    /// The node `id` (from 1), below `folder`, on ports of its own. `java` is of [`java_options`].
    pub fn new(id: usize, folder: &Path, java: &[OsString]) -> Result<Self> {
        let folder = folder.join(format!("node-{id}"));
        std::fs::create_dir(&folder)
            .with_context(|| format!("creating the Kafka folder {}", folder.display()))?;
        let clients = ports::free()?;
        let ports = Ports {
            clients,
            advertised: clients,
            brokers: ports::free()?,
            controllers: ports::free()?,
        };
        Ok(Self {
            id,
            ports,
            folder,
            java: java.to_vec(),
            process: Mutex::new(None),
        })
    }

    pub fn process(&self) -> Result<MutexGuard<'_, Option<ProcessGroup>>> {
        match self.process.lock() {
            Ok(process) => Ok(process),
            Err(_) => bail!(
                "the lock of Kafka node {} is poisoned by an earlier panic",
                self.id
            ),
        }
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new(install::java());
        command
            .args(&self.java)
            .arg(class)
            .current_dir(&self.folder);
        command
    }

    /// Writes the settings and formats the data folder; `all` are the ports of every node.
    pub async fn prepare(
        &self,
        all: &[Ports],
        security: Option<&Security>,
        more: &[(String, String)],
    ) -> Result<()> {
        settings::write(&self.folder, self.id, all, security, more)?;
        let mut command = self.java("kafka.tools.StorageTool");
        command.args(["format", "-t", &settings::cluster_id(all), "-c"]);
        command.arg(settings::file(&self.folder));
        command.args(["--initial-controllers", &settings::initial_controllers(all)]);
        if let Some(security) = security {
            command.args(["--add-scram", &security.scram()]);
        }
        let name = format!("the formatting of Kafka node {}", self.id);
        let mut formatting = ProcessGroup::spawn(&name, &mut command, &self.log())?;
        let status = formatting.wait(START_BOUND).await?;
        if !status.success() {
            return Err(formatting.with_log(anyhow::anyhow!("{name} failed with {status}")));
        }
        Ok(())
    }

    pub fn spawn(&self) -> Result<ProcessGroup> {
        let mut command = self.java("kafka.Kafka");
        command.arg(settings::file(&self.folder));
        ProcessGroup::spawn(
            &format!("Kafka node {}", self.id),
            &mut command,
            &self.log(),
        )
    }

    /// Waits until this node's broker sees the brokers `expected`, and keeps the process.
    pub async fn adopt(&self, mut process: ProcessGroup, expected: &[usize]) -> Result<()> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.brokers));
        let what = format!("Kafka node {} to see the brokers {expected:?}", self.id);
        let ready = process.ready(&what, START_BOUND, || async move {
            let seen = wire::brokers_seen_by(at).await;
            seen.is_ok_and(|seen| expected.iter().all(|id| seen.contains(id)))
        });
        ready.await?;
        *self.process()? = Some(process);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }
}

/// With the archive of loaded classes that `make test-servers` leaves, if it is there. That holds
/// for the same jars in the same order only, so the class path names each.
pub fn java_options(installed: &Path) -> Result<Vec<OsString>> {
    let libraries = installed.join("libs");
    let mut jars = std::fs::read_dir(&libraries)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("listing Kafka's jars in {}", libraries.display()))?;
    jars.sort();
    let classpath =
        std::env::join_paths(jars).context("Kafka's jars have a colon in their path")?;
    let mut options: Vec<OsString> = [
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.awt.headless=true",
    ]
    .map(OsString::from)
    .into();
    let archive = installed.join("classes.jsa");
    if archive.is_file() {
        let mut option = OsString::from("-XX:SharedArchiveFile=");
        option.push(archive);
        options.push(option);
    }
    options.extend(["-cp".into(), classpath]);
    Ok(options)
}
