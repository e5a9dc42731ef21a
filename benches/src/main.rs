//! `make bench`: what Laneway costs, as ratios to floors measured in the same run.
//!
//! Every part runs as a process of its own (role or floor, broker, load), and its CPU seconds are
//! the operating system's. Runs are interleaved and medians of three, since machines are noisy.

mod floor;
mod load;
mod measure;

use std::path::PathBuf;
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
    /// Measures everything, or the parts that are named: ingest, processor.
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
    },
    /// An HTTP load; prints its report as JSON. TOKENS: a file of `device token` lines.
    LoadHttp {
        address: String,
        tokens: PathBuf,
        connections: usize,
        batch: usize,
        seconds: u64,
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
    } = &cli.command
    {
        return floor::transact::run(bootstrap, group, input, output, *records, *unit);
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
            Command::FloorTransact { .. } => unreachable!("handled above, without a runtime"),
            Command::LoadHttp {
                address,
                tokens,
                connections,
                batch,
                seconds,
            } => {
                let text = std::fs::read_to_string(&tokens)
                    .with_context(|| format!("reading the tokens {}", tokens.display()))?;
                let tokens = text
                    .lines()
                    .filter_map(|line| line.split_once(' '))
                    .map(|(device, token)| (device.to_owned(), token.to_owned()))
                    .collect();
                let duration = Duration::from_secs(seconds);
                let report = load::http::run(load::http::Load {
                    address,
                    connections,
                    batch,
                    duration,
                    tokens,
                })
                .await?;
                println!("{}", serde_json::to_string(&report)?);
                Ok(())
            }
        }
    })
}
