//! The processes of a run: what they use and say, and how results are printed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::cpu::{self, Usage};
use laneway_testkit::{LanewayProcess, ports, wait};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// How often a process that ends by itself is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What one run of one program gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub events: u64,
    pub seconds: f64,
    /// CPU seconds of the program, the broker and the load.
    pub program: f64,
    pub broker: f64,
    pub load: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Sample {
    pub fn per_million(&self, cpu: f64) -> f64 {
        cpu * 1e6 / self.events.max(1) as f64
    }

    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// CPU seconds that a process has used so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let usage: Usage = cpu::usage(pid)?;
    Ok(usage.cpu_seconds)
}

/// This program in another part, as a server on a port of its own.
pub async fn server(
    folder: &Path,
    part: &str,
    arguments: impl FnOnce(u16) -> Vec<String>,
) -> Result<(LanewayProcess, String)> {
    let port = ports::free()?;
    let process = LanewayProcess::builder(std::env::current_exe()?)
        .args([part])
        .args(arguments(port))
        .name(part)
        .dir(folder)
        .spawn()?;
    let address = format!("127.0.0.1:{port}");
    wait::until(
        &format!("{part} to listen"),
        Duration::from_secs(20),
        || async { TcpStream::connect(&address).await.is_ok() },
    )
    .await?;
    Ok((process, address))
}

/// This program in another part, until it ends by itself.
pub struct Part {
    child: Child,
    output: BufReader<ChildStdout>,
    used: tokio::task::JoinHandle<f64>,
}

impl Part {
    pub fn start(
        part: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(part)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {part}"))?;
        let pid = child
            .id()
            .with_context(|| format!("{part} has ended at once"))?;
        let output = child.stdout.take().context("its output is piped")?;
        let used = tokio::spawn(async move {
            let mut used = 0.0;
            while let Ok(seconds) = cpu_seconds(pid) {
                used = seconds;
                tokio::time::sleep(LOOK).await;
            }
            used
        });
        Ok(Part {
            child,
            output: BufReader::new(output),
            used,
        })
    }

    /// Waits until it says so.
    pub async fn ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line).await?;
        ensure!(line.trim() == "ready", "it says {line:?} instead of ready");
        Ok(())
    }

    /// What it prints up to its end, and the CPU seconds that it used.
    pub async fn end(mut self) -> Result<(String, f64)> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).await?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "a part of the measurement failed");
        Ok((text, self.used.await?))
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of the table: ours, the floor's, and their ratio, of whatever was measured.
pub fn print(what: &str, ours: &[Sample], floor: &[Sample]) {
    type Column = (&'static str, fn(&Sample) -> f64);
    const COLUMNS: [Column; 6] = [
        ("CPU-s/M", |s| s.per_million(s.program)),
        ("rate/s", Sample::rate),
        ("broker", |s| s.per_million(s.broker)),
        ("load", |s| s.per_million(s.load)),
        ("p50 ms", |s| s.p50_us as f64 / 1000.0),
        ("p99 ms", |s| s.p99_us as f64 / 1000.0),
    ];
    let mut line = format!("{what}:");
    for (name, value) in COLUMNS {
        let of = |samples: &[Sample]| median(samples.iter().map(value).collect());
        let (ours, floor) = (of(ours), of(floor));
        if ours > 0.0 && floor > 0.0 {
            line += &format!(" {name} {ours:.2} ({floor:.2}) = {:.2};", ours / floor);
        }
    }
    println!("{}", line.trim_end_matches(';'));
}
