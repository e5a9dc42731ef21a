//! Hosts of tenants.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::ask::Api;
use super::command::Of;
use crate::client::segment;

#[derive(Debug, Subcommand)]
pub enum Host {
    /// Register a name, or *.name for all below; says how it is proved.
    Create {
        #[command(flatten)]
        of: Of,
        host: String,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    Show {
        #[command(flatten)]
        of: Of,
        host: String,
    },
    /// Look for the proof now; where it is there, the host is live.
    Verify {
        #[command(flatten)]
        of: Of,
        host: String,
    },
    /// Give the host a certificate of its own.
    Certificate {
        #[command(flatten)]
        of: Of,
        host: String,
        /// PEM file of the certificate and its intermediates.
        #[arg(long, value_name = "FILE")]
        cert_file: PathBuf,
        /// PEM file of its private key.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    Delete {
        #[command(flatten)]
        of: Of,
        host: String,
    },
}

pub async fn run(api: &mut Api, command: Host) -> anyhow::Result<()> {
    let path = |of: &Of, host: &str| of.path(&format!("/hosts/{}", segment(host)));
    match command {
        Host::Create { of, host } => api.create(&of.path("/hosts"), &json!({"host": host})).await,
        Host::List { of } => {
            let columns = [
                "host",
                "state",
                "proved_at",
                "certificate_expires_at",
                "problem",
            ];
            api.list(&of.path("/hosts"), &columns).await
        }
        Host::Show { of, host } => api.show(&path(&of, &host)).await,
        Host::Verify { of, host } => {
            let path = format!("{}/verify", path(&of, &host));
            api.create(&path, &Value::Null).await
        }
        Host::Certificate {
            of,
            host,
            cert_file,
            key_file,
        } => {
            let body = json!({"certificate": read(&cert_file)?, "key": read(&key_file)?});
            let path = format!("{}/certificate", path(&of, &host));
            api.put(&path, &body).await
        }
        Host::Delete { of, host } => api.delete(&path(&of, &host)).await,
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
