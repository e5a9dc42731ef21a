//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::admin::Admin;
use crate::send::Send;
use crate::tail::Tail;

/// Multi-tenant, event-driven location streams.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// Configuration file (TOML). Without it, laneway.toml in the working folder where it exists.
    #[arg(long, global = true, env = "LANEWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all roles in one process, with nothing else to install.
    All,
    /// Run the role that takes what devices send.
    Ingest,
    /// Run the role that isolates, orders and derives.
    Processor,
    /// Run the role that delivers to destinations and streams.
    Sink,
    /// Run the role that manages tenants, devices and destinations.
    Control,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage tenants and what belongs to them, through the API.
    Admin(Admin),
    /// Print a tenant's stream as it comes.
    Tail(Tail),
    /// Send recorded tracks as devices would.
    Send(Send),
    /// Put a backup where the data folder has nothing yet.
    Restore(Restore),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with the configuration, key by key.
    Check,
    /// Print all keys with their defaults and what they do.
    Defaults,
    /// Print all keys as environment variables (what env.example has).
    Env,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// What `laneway admin backup` wrote.
    #[arg(long, value_name = "PATH")]
    pub from: PathBuf,
}

/// Where the API is, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Address of the API. Without it, the operator's local socket in the data folder.
    #[arg(long, env = "LANEWAY_URL", value_name = "URL")]
    pub url: Option<String>,
    /// API key (lwk_…).
    #[arg(long, env = "LANEWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// Local socket, where it is not the one in the data folder.
    #[arg(
        long,
        env = "LANEWAY_SOCKET",
        value_name = "PATH",
        conflicts_with = "url"
    )]
    pub socket: Option<PathBuf>,
    /// PEM file of a certificate authority to trust besides the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}
