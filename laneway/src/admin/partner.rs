//! Partners, and what tenants grant to them.

use clap::Subcommand;
use serde_json::json;

use super::ask::Api;
use super::command::Of;
use crate::client::segment;

#[derive(Debug, Subcommand)]
pub enum Partner {
    Create {
        /// Its name in URLs: a–z, 0–9 and hyphens.
        slug: String,
        /// Make a first key, an owner's, of that name; it is printed once.
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
    },
    List,
    /// What tenants have granted to it.
    Grants {
        partner: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Let a partner read a part of the tenant's stream.
    Create {
        #[command(flatten)]
        of: Of,
        /// Slug or id of the partner.
        partner: String,
        /// Event types, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        types: Vec<String>,
        /// Devices, separated by commas. Default: all.
        #[arg(long, value_delimiter = ',')]
        devices: Vec<String>,
        /// Until when (RFC 3339).
        #[arg(long, value_name = "TIME")]
        expires_at: String,
        /// Says what it is for.
        #[arg(long, default_value = "made on the command line")]
        name: String,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    /// End it: what is open by it is closed within a second.
    Revoke {
        #[command(flatten)]
        of: Of,
        id: String,
    },
}

const COLUMNS: [&str; 6] = [
    "id",
    "partner",
    "event_types",
    "devices",
    "state",
    "expires_at",
];

pub async fn run(api: &mut Api, command: Partner) -> anyhow::Result<()> {
    match command {
        Partner::Create { slug, owner } => {
            let mut body = json!({ "slug": slug });
            if let Some(owner) = owner {
                body["owner"] = owner.into();
            }
            api.create("/partners", &body).await
        }
        Partner::List => {
            let columns = ["slug", "id", "state", "created_at"];
            api.list("/partners", &columns).await
        }
        Partner::Grants { partner } => {
            let path = format!("/tenants/{}/partner/grants", segment(&partner));
            let mut columns = COLUMNS;
            columns[1] = "tenant";
            api.list(&path, &columns).await
        }
    }
}

pub async fn grant(api: &mut Api, command: Grant) -> anyhow::Result<()> {
    match command {
        Grant::Create {
            of,
            partner,
            types,
            devices,
            expires_at,
            name,
        } => {
            let body = json!({
                "partner": partner,
                "name": name,
                "event_types": types,
                "devices": devices,
                "expires_at": expires_at,
            });
            api.create(&of.path("/grants"), &body).await
        }
        Grant::List { of } => api.list(&of.path("/grants"), &COLUMNS).await,
        Grant::Revoke { of, id } => {
            let path = format!("/grants/{}", segment(&id));
            api.delete(&of.path(&path)).await
        }
    }
}
