//! Child processes: the test binary run again, so that clients can be killed and stopped.

use std::process::Stdio;

use laneway_log::{LogError, Topic};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::support::{append, assigned, copy_of, copy_until, join, numbered, records, soon, spec};
use super::{Backend, PARTITIONS};

const ROLE: &str = "LANEWAY_CONFORMANCE_ROLE";
const ADDRESS: &str = "LANEWAY_CONFORMANCE_ADDRESS";
const START: &str = "LANEWAY_CONFORMANCE_START";

/// What marks the lines that are meant for the parent, among the test harness's own.
const MARK: &str = "child: ";

/// A running child. Dropping it kills it.
pub struct Child {
    process: tokio::process::Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Runs `role` on `backend`; `start` is the first number that it writes.
    pub fn start<B: Backend>(backend: &B, role: &str, start: u64) -> Self {
        let binary = std::env::current_exe().expect("the path of the test binary");
        let mut process = Command::new(binary)
            .args([
                "--exact",
                "conformance_child",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, role)
            .env(ADDRESS, backend.address())
            .env(START, start.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starting a child process");
        let input = process.stdin.take().expect("a pipe");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Child {
            process,
            input,
            lines,
        }
    }

    /// The next line that the child says, or `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            let line = soon("a line of the child", self.lines.next_line())
                .await
                .expect("a pipe")?;
            // The harness may write without a line end before it.
            if let Some(at) = line.find(MARK) {
                return Some(line[at + MARK.len()..].to_owned());
            }
        }
    }

    pub async fn tell(&mut self) {
        self.input.write_all(b"go\n").await.expect("a pipe");
        self.input.flush().await.expect("a pipe");
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.process.id().expect("a running child");
        let id = rustix::process::Pid::from_raw(id.try_into().expect("a process id"))
            .expect("a process id");
        rustix::process::kill_process(id, signal).expect("signalling the child");
    }

    /// Kills it with SIGKILL; returns what it had said until then.
    pub async fn kill(mut self) -> Vec<String> {
        self.process.start_kill().expect("killing the child");
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        soon("the child's end", self.process.wait())
            .await
            .expect("waiting for the child");
        rest
    }
}

fn say(line: &str) {
    println!("{MARK}{line}");
}

/// Runs the role that the parent chose. Does nothing where there is no parent.
pub async fn run<B: Backend>() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let backend = B::attach(&std::env::var(ADDRESS).expect("an address"));
    let start: u64 = std::env::var(START)
        .expect("a start")
        .parse()
        .expect("a number");
    let log = backend.open().await;
    match role.as_str() {
        "append" => {
            for n in start.. {
                let partition = u32::try_from(n % u64::from(PARTITIONS)).expect("small");
                append(&log, numbered(Topic::LocationUpdates, partition, [n])).await;
                say(&n.to_string());
            }
        }
        "copy" => {
            say("started");
            let never = tokio::sync::Notify::new();
            copy_until(&log, spec("copy", &format!("copier-{start}")), &never).await;
        }
        "hold" => {
            let mut member = join(&log, spec("held", "holder")).await;
            let (_, epoch) = assigned(&mut member).await;
            let batch = records(&mut member).await;
            say("holding");
            let mut line = String::new();
            BufReader::new(tokio::io::stdin())
                .read_line(&mut line)
                .await
                .expect("a pipe");
            match member.committer().commit(copy_of(&batch, epoch)).await {
                Ok(()) => say("committed"),
                Err(LogError::Fenced { .. }) => say("fenced"),
                Err(error) => say(&format!("failed: {error}")),
            }
        }
        other => panic!("there is no role {other}"),
    }
}
