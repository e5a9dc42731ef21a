//! `laneway`: the roles, and the commands that are clients of their API.

mod admin;
mod backup;
mod cli;
mod client;
mod config;
mod roles;
mod secrets;
mod send;
mod tail;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ConfigCommand};
use config::Config;
use roles::Role;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("laneway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    // Before anything uses TLS: libraries take the process's provider.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("a cryptography provider is installed already");
    }
    let config = || Config::load(cli.config.as_deref());
    match cli.command {
        Command::All => serve(Role::All, config()?),
        Command::Ingest => serve(Role::Ingest, config()?),
        Command::Processor => serve(Role::Processor, config()?),
        Command::Sink => serve(Role::Sink, config()?),
        Command::Control => serve(Role::Control, config()?),
        Command::Config(ConfigCommand::Check) => {
            let exposed = config()?.all_exposed();
            anyhow::ensure!(exposed.is_empty(), config::Problems(exposed));
            println!("the configuration is valid");
            Ok(())
        }
        Command::Config(ConfigCommand::Defaults) => {
            print!("{}", config::keys::DEFAULTS);
            Ok(())
        }
        Command::Config(ConfigCommand::Env) => {
            print!("{}", config::env_example::generate()?);
            Ok(())
        }
        Command::Restore(restore) => {
            let config = config()?;
            backup::restore(&restore.from, &config)?;
            println!("restored into {}", config.data_dir.display());
            Ok(())
        }
        Command::Admin(command) => as_client(admin::run(command, || Ok(config()?.socket()))),
        Command::Tail(command) => as_client(tail::run(command)),
        Command::Send(command) => as_client(send::run(command)),
    }
}

fn serve(role: Role, config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(roles::run(role, config))
}

fn as_client(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
