//! `make bench`: what Laneway costs, as ratios to floors measured in the same run.
//!
//! Every part runs as a process of its own (role or floor, broker, load), and its CPU seconds are
//! the operating system's. Runs are interleaved and medians of three, since machines are noisy.

mod clock;
mod floor;
mod load;
mod measure;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures everything, or the parts that are named: ingest, processor, websocket, webhook,
    /// latency, tenants, embedded.
    Run {
        parts: Vec<String>,
        /// Seconds of each run.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        /// Interleaved repetitions; medians are printed.
        #[arg(long, default_value_t = 3)]
        repeat: usize,
    },
    /// The floor of ingest, as a server.
    FloorIngest {
        port: u16,
        bootstrap: String,
        topic: String,
        linger_ms: String,
    },
    /// The floor of the processor.
    FloorTransact {
        bootstrap: String,
        group: String,
        input: String,
        output: String,
        records: usize,
        unit: usize,
        /// Commits what there is instead of waiting for a unit to fill.
        #[arg(long)]
        follow: bool,
    },
    /// The floor of websockets, as a server.
    FloorFanout {
        port: u16,
        bootstrap: String,
        topic: String,
    },
    /// The floor of webhooks.
    FloorWebhook {
        bootstrap: String,
        topic: String,
        receiver: String,
        workers: usize,
        events: usize,
    },
    /// A receiver of webhooks.
    LoadReceiver { port: u16 },
    /// Websocket subscribers; PATHS: a file of `path key` lines. Prints a report as JSON.
    LoadSockets {
        address: String,
        paths: PathBuf,
        expected: u64,
        #[arg(long)]
        latencies: bool,
    },
    /// Websocket subscribers that only wait.
    HoldSockets { address: String, paths: PathBuf },
    /// Single fixes at a fixed rate. TOKENS: a file of `device token` lines.
    LoadPaced {
        address: String,
        tokens: PathBuf,
        rate: u64,
        seconds: u64,
    },
    /// An HTTP load; prints its report as JSON. TOKENS: a file of `device token` lines.
    LoadHttp {
        address: String,
        tokens: PathBuf,
        connections: usize,
        batch: usize,
        seconds: u64,
        /// Events a second of all connections together; without it each sends as soon as it has
        /// its answer.
        #[arg(long)]
        rate: Option<u64>,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Command::FloorTransact {
        bootstrap,
        group,
        input,
        output,
        records,
        unit,
        follow,
    } = &cli.command
    {
        return floor::transact::run(bootstrap, group, input, output, *records, *unit, *follow);
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        match cli.command {
            Command::Run {
                parts,
                seconds,
                repeat,
            } => measure::run(&parts, Duration::from_secs(seconds), repeat).await,
            Command::FloorIngest {
                port,
                bootstrap,
                topic,
                linger_ms,
            } => floor::ingest::serve(port, &bootstrap, topic.leak(), &linger_ms).await,
            Command::FloorFanout {
                port,
                bootstrap,
                topic,
            } => floor::fanout::serve(port, &bootstrap, &topic).await,
            Command::FloorWebhook {
                bootstrap,
                topic,
                receiver,
                workers,
                events,
            } => floor::webhook::run(&bootstrap, &topic, &receiver, workers, events).await,
            Command::LoadReceiver { port } => load::receiver::serve(port).await,
            Command::LoadSockets {
                address,
                paths,
                expected,
                latencies,
            } => {
                let report = load::sockets::run(load::sockets::Load {
                    address,
                    paths: pairs(&paths)?,
                    expected,
                    latencies,
                })
                .await?;
                println!("{}", serde_json::to_string(&report)?);
                Ok(())
            }
            Command::HoldSockets { address, paths } => {
                load::sockets::hold(&address, &pairs(&paths)?).await
            }
            Command::LoadPaced {
                address,
                tokens,
                rate,
                seconds,
            } => load::paced::run(&address, &pairs(&tokens)?, rate, seconds).await,
            Command::FloorTransact { .. } => unreachable!("handled above, without a runtime"),
            Command::LoadHttp {
                address,
                tokens,
                connections,
                batch,
                seconds,
                rate,
            } => {
                let tokens = pairs(&tokens)?;
                let duration = Duration::from_secs(seconds);
                let report = load::http::run(load::http::Load {
                    address,
                    connections,
                    batch,
                    duration,
                    rate,
                    tokens,
                })
                .await?;
                println!("{}", serde_json::to_string(&report)?);
                Ok(())
            }
        }
    })
}

/// Lines of two words each.
fn pairs(file: &Path) -> Result<Vec<(String, String)>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(first, second)| (first.to_owned(), second.to_owned()))
        .collect())
}
