//! A child process in a process group of its own, with a log file, that never outlives the test.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{cpu, wait, watchdog};

/// Ends with kill -9, its descendants with it, when it is dropped or this process ends.
#[derive(Debug)]
pub struct ProcessGroup {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl ProcessGroup {
    /// Starts `command`, appending what it prints to `log`. `name` is for error messages.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {} for what {name} prints", log.display()))?;
        let errors = file
            .try_clone()
            .context("opening a log file a second time")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        if let Err(error) = watchdog::watch(child.id()) {
            let _ended = child.kill().and_then(|()| child.wait());
            return Err(error);
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: None,
        })
    }

    /// The process that was started, which is also the number of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed, from all of its starts with the same log file.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let Ok(bytes) = std::fs::read(&self.log) else {
            return String::new();
        };
        let text = String::from_utf8_lossy(&bytes);
        let from = text.lines().count().saturating_sub(lines);
        text.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    /// `error`, with the end of the log below it.
    pub fn with_log(&self, error: anyhow::Error) -> anyhow::Error {
        let tail = self.log_tail(10);
        error.context(format!(
            "{}; its log {} ends:\n{tail}\n",
            self.name,
            self.log.display()
        ))
    }

    /// The exit status if the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .with_context(|| format!("asking whether {} has ended", self.name))?;
        }
        Ok(self.ended)
    }

    /// Fails, with the end of the log, where the process has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(self.with_log(anyhow::anyhow!("{} has ended with {status}", self.name)))
            }
        }
    }

    /// Sends `signal` to the whole group.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check_running()?;
        kill_process_group(self.group()?, signal)
            .with_context(|| format!("sending {signal:?} to the group of {}", self.name))
    }

    /// Kill -9 of the process, its group and its descendants, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        // PostgreSQL puts each of its processes in a group of its own.
        let descendants = cpu::descendants(self.pid());
        let killed = kill_process_group(self.group()?, Signal::KILL);
        for pid in descendants {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _already_gone = kill_process(pid, Signal::KILL);
            }
        }
        killed.with_context(|| format!("killing the group of {}", self.name))?;
        let status = self
            .child
            .wait()
            .with_context(|| format!("waiting for the killed {}", self.name))?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Waits until the process has ended by itself, at most for `bound`.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() >= bound {
                let name = &self.name;
                return Err(self.with_log(anyhow::anyhow!("{name} did not end within {bound:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks `probe` until it answers true. Fails, with the end of the log, when that takes longer
    /// than `bound` or as soon as the process has ended.
    pub async fn ready<F, P>(&mut self, what: &str, bound: Duration, mut probe: P) -> Result<()>
    where
        P: FnMut() -> F,
        F: Future<Output = bool>,
    {
        let outcome = wait::eventually(what, bound, || {
            let asked = self.check_running().map(|()| probe());
            async {
                match asked {
                    Ok(answer) => answer.await.then_some(Ok(())),
                    Err(ended) => Some(Err(ended)),
                }
            }
        });
        match outcome.await {
            Ok(outcome) => outcome,
            Err(late) => Err(self.with_log(late)),
        }
    }

    fn group(&self) -> Result<Pid> {
        match i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            Some(group) => Ok(group),
            None => bail!("{} is not the number of a process", self.pid()),
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let killed = self.kill();
        if std::thread::panicking() {
            eprintln!(
                "{}: {killed:?}; its log ends:\n{}",
                self.name,
                self.log_tail(10)
            );
        }
        watchdog::forget(self.pid());
    }
}
