//! A whole `laneway` process, for end-to-end tests and benches.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::servers::http;
use crate::servers::process::ProcessGroup;

/// A drain ends hard after 60 s.
const STOP_BOUND: Duration = Duration::from_secs(65);

/// A running process; kill -9 when it is dropped or the test process ends.
#[derive(Debug)]
pub struct LanewayProcess {
    group: ProcessGroup,
}

/// How to start one. It can be used again: the log of a second start is appended.
#[derive(Debug, Clone)]
pub struct Builder {
    binary: PathBuf,
    name: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
}

impl LanewayProcess {
    /// A process of `binary`, such as [`laneway_binary`](crate::laneway_binary) finds.
    pub fn builder(binary: PathBuf) -> Builder {
        Builder {
            binary,
            name: "laneway".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    pub fn log_path(&self) -> &Path {
        self.group.log_path()
    }

    /// All that the process printed, from all of its starts with the same name and folder.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(self.log_path())
            .with_context(|| format!("reading the log {}", self.log_path().display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Kill -9, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.group.kill().map(drop)
    }

    /// SIGTERM, and waits for the end of the drain.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait(STOP_BOUND).await
    }

    /// SIGTERM without waiting.
    pub fn terminate(&mut self) -> Result<()> {
        self.group.signal(Signal::TERM)
    }

    /// SIGSTOP: the process keeps its connections and does nothing.
    pub fn pause(&mut self) -> Result<()> {
        self.group.signal(Signal::STOP)
    }

    /// SIGCONT after [`pause`](Self::pause).
    pub fn resume(&mut self) -> Result<()> {
        self.group.signal(Signal::CONT)
    }

    /// Waits until the process has ended by itself.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.group.wait(bound).await
    }

    /// Whether it has ended, without waiting.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.group.ended()
    }

    /// Gets `url` until the answer has `status`. The error has the end of the log; it comes at
    /// once where the process has ended.
    pub async fn wait_http(&mut self, url: &str, status: u16, bound: Duration) -> Result<()> {
        let what = format!("{url} to answer {status}");
        let ready = self.group.ready(&what, bound, || async {
            http::get(url).await.is_ok_and(|(given, _)| given == status)
        });
        ready.await
    }

    /// Waits until `probe` answers true, with the same errors as [`wait_http`](Self::wait_http).
    pub async fn wait_until<F, P>(&mut self, what: &str, bound: Duration, probe: P) -> Result<()>
    where
        P: FnMut() -> F,
        F: Future<Output = bool>,
    {
        self.group.ready(what, bound, probe).await
    }
}

impl Builder {
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The process gets the environment of the test, except what begins with `LANEWAY_`, and this.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where it runs and where its log is: required, and usually a temporary folder of the test.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.dir = Some(folder.as_ref().to_owned());
        self
    }

    /// In messages, and of the log file: `NAME.log` in the folder. `laneway` unless given.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub fn spawn(&self) -> Result<LanewayProcess> {
        let folder = self
            .dir
            .as_ref()
            .with_context(|| format!("starting {}: no folder given, call dir()", self.name))?;
        ensure!(
            self.binary.is_file(),
            "starting {}: {} is not there, run `cargo build -p laneway`",
            self.name,
            self.binary.display()
        );
        let mut command = Command::new(&self.binary);
        for (key, _) in std::env::vars_os() {
            if key.as_encoded_bytes().starts_with(b"LANEWAY_") {
                command.env_remove(key);
            }
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .current_dir(folder);
        let log = folder.join(format!("{}.log", self.name));
        Ok(LanewayProcess {
            group: ProcessGroup::spawn(&self.name, &mut command, &log)?,
        })
    }
}
