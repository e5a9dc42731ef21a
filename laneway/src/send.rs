//! `laneway send`: recorded tracks, sent as devices would.

mod csv;
mod gpx;
mod plan;
mod track;
mod upload;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use laneway_runtime::{Clock, SystemClock};

use crate::client::{Client, Target};
use plan::{Pace, Plan, Shift};
use track::Track;
use upload::{Counts, Uploader};

#[derive(Debug, Args)]
pub struct Send {
    /// Tracks: CSV with a header (lat, lon, time, device, …) or GPX; either may be gzipped.
    pub file: PathBuf,
    /// Address of the API.
    #[arg(
        long,
        env = "LANEWAY_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub url: String,
    /// Device token (lwd_…): sends for its device.
    #[arg(
        long,
        env = "LANEWAY_TOKEN",
        hide_env_values = true,
        conflicts_with = "key",
        value_name = "TOKEN"
    )]
    pub token: Option<String>,
    /// API key (lwk_…) with location:write: sends for any device of its tenant. Without it and a
    /// token, sends as anyone may where authentication is off.
    #[arg(long, env = "LANEWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// PEM file of a certificate authority to trust besides the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Device that the track is of, where the file does not say. Default: the file's name.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Send every track for so many devices: ID-1, ID-2, …
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub clone: u32,
    /// Move all times: `now` (the last fix is sent as it happens), or by a duration such as 3h or -2d.
    #[arg(long, value_name = "now|DURATION", allow_hyphen_values = true)]
    pub shift: Option<Shift>,
    /// How many times faster than recorded, or `max`.
    #[arg(long, default_value = "max", value_name = "X")]
    pub speed: Pace,
    /// Fixes of one request.
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub batch: usize,
    /// Connections; a device stays on one.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub connections: usize,
    /// Start and stop a session for every device.
    #[arg(long)]
    pub sessions: bool,
}

impl Send {
    /// Whether it sends for devices that it names: all but a device's own token does.
    fn names_devices(&self) -> bool {
        self.key.is_some() || self.token.is_none()
    }
}

pub async fn run(send: Send) -> anyhow::Result<()> {
    anyhow::ensure!(
        send.batch > 0 && send.connections > 0 && send.clone > 0,
        "--batch, --connections and --clone must be at least 1"
    );
    let tracks = read(&send.file, send.device.as_deref())?;
    let plan = Plan::new(
        tracks,
        send.clone,
        send.shift,
        send.speed,
        SystemClock.now_us(),
    );
    anyhow::ensure!(plan.fixes() > 0, "{} has no fixes", send.file.display());
    anyhow::ensure!(
        send.names_devices() || plan.devices() == 1,
        "the tracks are of {} devices, but a device token sends for its own device alone: give --key",
        plan.devices()
    );

    let progress = ProgressBar::new(plan.fixes());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} fixes {per_sec} {msg} eta {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let target = Target::url(&send.url)?;
    let started = tokio::time::Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    let plan = Arc::new(plan);
    for worker in 0..send.connections {
        let client = Client::new(
            target.clone(),
            send.key.as_deref().or(send.token.as_deref()),
            send.ca.clone(),
        )?;
        let uploader = Uploader::new(
            client,
            send.names_devices(),
            send.sessions,
            send.batch,
            progress.clone(),
        );
        let (plan, connections) = (plan.clone(), send.connections);
        workers.spawn(async move { uploader.run(&plan, worker, connections, started).await });
    }
    let mut counts = Counts::default();
    while let Some(done) = workers.join_next().await {
        counts.add(done??);
    }
    progress.finish_and_clear();
    print_summary(&counts, plan.devices(), started.elapsed());
    anyhow::ensure!(counts.refused == 0, "{} fixes were refused", counts.refused);
    Ok(())
}

fn print_summary(counts: &Counts, devices: usize, took: Duration) {
    let rate = (counts.accepted + counts.refused) as f64 / took.as_secs_f64().max(0.001);
    println!(
        "{} accepted, {} refused, of {devices} devices in {:.1} s ({rate:.0}/s, {} retries)",
        counts.accepted,
        counts.refused,
        took.as_secs_f64(),
        counts.retries
    );
    for (reason, n) in &counts.reasons {
        println!("  refused {n}: {reason}");
    }
}

fn read(path: &Path, device: Option<&str>) -> anyhow::Result<Vec<Track>> {
    let doing = || format!("reading the tracks of {}", path.display());
    let mut bytes = std::fs::read(path).with_context(doing)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .with_context(doing)?;
        bytes = plain;
    }
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name =
        track::device_id(device.unwrap_or_else(|| name.split('.').next().unwrap_or_default()));
    let is_xml = bytes.trim_ascii_start().first().or(Some(&b' ')) == Some(&b'<')
        || bytes.starts_with(b"\xef\xbb\xbf<");
    if is_xml {
        gpx::read(&bytes, &name)
    } else {
        csv::read(&bytes, &name)
    }
    .with_context(doing)
}
