//! `laneway admin service-account`.

use clap::Subcommand;
use serde_json::json;

use super::ask::Api;
use super::command::Of;
use crate::client::segment;

#[derive(Debug, Subcommand)]
pub enum ServiceAccount {
    Create {
        #[command(flatten)]
        of: Of,
        /// Says what it is for.
        name: String,
        /// Its keys may do what a viewer, developer, admin or owner may.
        #[arg(long)]
        role: Option<String>,
        /// What its keys may do, or what of its role.
        #[arg(
            long,
            value_delimiter = ',',
            required_unless_present = "role",
            value_name = "SCOPES"
        )]
        scope: Vec<String>,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Refuse its keys until it is enabled again.
    Disable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    Enable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// With its keys.
    Delete {
        #[command(flatten)]
        of: Of,
        id: String,
    },
}

pub async fn run(api: &mut Api, command: ServiceAccount) -> anyhow::Result<()> {
    let path = |of: &Of, id: &str| of.path(&format!("/service-accounts/{}", segment(id)));
    match command {
        ServiceAccount::Create {
            of,
            name,
            role,
            scope,
        } => {
            let body = json!({"name": name, "role": role, "grants": scope});
            api.create(&of.path("/service-accounts"), &body).await
        }
        ServiceAccount::List { of } => {
            let columns = ["id", "name", "role", "grants", "state", "created_at"];
            api.list(&of.path("/service-accounts"), &columns).await
        }
        ServiceAccount::Disable { of, id } => {
            let state = json!({"state": "disabled"});
            api.patch(&path(&of, &id), &state).await
        }
        ServiceAccount::Enable { of, id } => {
            let state = json!({"state": "active"});
            api.patch(&path(&of, &id), &state).await
        }
        ServiceAccount::Delete { of, id } => api.delete(&path(&of, &id)).await,
    }
}
