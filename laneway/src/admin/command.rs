//! The commands below `laneway admin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::Connection;

#[derive(Debug, Args)]
pub struct Admin {
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON, as the API answers it.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but this field of the answer, such as `token` or `key`.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "json")]
    pub field: Option<String>,
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Tenants.
    #[command(subcommand)]
    Tenant(Tenant),
    /// Devices of a tenant.
    #[command(subcommand)]
    Device(super::device::Device),
    /// What a device authenticates with.
    #[command(subcommand)]
    Credential(Credential),
    /// Keys with which devices enrol themselves.
    #[command(subcommand)]
    ProvisioningKey(super::device::ProvisioningKey),
    /// API keys of a tenant.
    #[command(subcommand)]
    Key(Key),
    /// Owners of a tenant's keys that are no persons.
    #[command(subcommand)]
    ServiceAccount(super::account::ServiceAccount),
    /// Where a tenant's events are delivered.
    #[command(subcommand)]
    Destination(Destination),
    /// Who reads what tenants grant to them.
    #[command(subcommand)]
    Partner(super::partner::Partner),
    /// What a tenant lets partners read of its stream.
    #[command(subcommand)]
    Grant(super::partner::Grant),
    /// Names of a tenant's own under which it is reached.
    #[command(subcommand)]
    Host(super::host::Host),
    /// Keys of the platform's operators.
    #[command(subcommand)]
    OperatorKey(OperatorKey),
    /// Records that the processor refused.
    #[command(subcommand)]
    Quarantine(super::quarantine::Quarantine),
    /// Who did what to what: audit trails.
    #[command(subcommand)]
    Audit(super::audit::Audit),
    /// Secrets that are kept encrypted.
    #[command(subcommand)]
    Secrets(Secrets),
    /// What a tenant used by day, or all tenants on one day.
    Usage(super::usage::Usage),
    /// Tell all tenants: an event in the stream of the namespace `runtime`. It is everybody's to
    /// read.
    Notice(super::notice::Notice),
    /// How far each group is behind.
    Lag,
    /// Copy the embedded log and store while they run.
    Backup {
        /// Folder to move the copy to; on the same machine. Default: it stays in the data folder.
        path: Option<PathBuf>,
    },
}

/// Whose: needed unless the key is the tenant's own.
#[derive(Debug, Args)]
pub struct Of {
    /// Slug or id of the tenant.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Tenant {
    Create {
        /// Its name in URLs: a–z, 0–9 and hyphens.
        slug: String,
        /// Partitions that its records may use.
        #[arg(long)]
        lanes: Option<u32>,
        /// Its database: one of store.shards, or main.
        #[arg(long, value_name = "NAME")]
        database: Option<String>,
        /// Topics of its own: one of log.topic_sets.
        #[arg(long, value_name = "NAME")]
        topics: Option<String>,
        /// Events a second; 0 is no limit.
        #[arg(long, default_value_t = 0, value_name = "N")]
        events_per_second: u32,
        /// Events a second of one device; 0 is no limit.
        #[arg(long, default_value_t = 0, value_name = "N")]
        device_events_per_second: u32,
        /// Make a first key, an owner's, of that name; it is printed once.
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
    },
    List,
    Show {
        tenant: String,
    },
    /// Refuse its devices and keys until it is activated again.
    Suspend {
        tenant: String,
    },
    Activate {
        tenant: String,
    },
    /// Erase all that it has, for ever.
    Close {
        tenant: String,
    },
    /// How far its closing is, and what went when.
    Closure {
        tenant: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CredentialKind {
    /// A bearer token, which is printed once.
    Token,
    /// A password for HTTP basic authentication, read from standard input.
    Password,
}

#[derive(Debug, Subcommand)]
pub enum Credential {
    Create {
        #[command(flatten)]
        of: Of,
        #[arg(long, value_name = "ID")]
        device: String,
        #[arg(long, value_enum, default_value = "token")]
        kind: CredentialKind,
    },
    List {
        #[command(flatten)]
        of: Of,
        #[arg(long, value_name = "ID")]
        device: String,
    },
    Revoke {
        #[command(flatten)]
        of: Of,
        #[arg(long, value_name = "ID")]
        device: String,
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    Create {
        #[command(flatten)]
        of: Of,
        /// What a viewer, developer, admin or owner may.
        #[arg(long)]
        role: Option<String>,
        /// What it may do, or what of its role: stream:read, positions:read, location:write,
        /// devices:read and so on; tenant:admin for all that is management.
        #[arg(
            long,
            value_delimiter = ',',
            required_unless_present_any = ["role", "account"],
            value_name = "SCOPES"
        )]
        scope: Vec<String>,
        /// Says what it is for.
        #[arg(long, default_value = "made on the command line")]
        name: String,
        /// Service account that it belongs to.
        #[arg(long, value_name = "ID")]
        account: Option<String>,
        /// Let it end at this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Give it another secret, which is printed once.
    Rotate {
        #[command(flatten)]
        of: Of,
        id: String,
        /// Let the former secret hold for so many seconds more; 0 ends it at once.
        #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
        overlap: u32,
        /// Let the key end at this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    Revoke {
        #[command(flatten)]
        of: Of,
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Destination {
    /// Add a webhook; its signing secret is printed once.
    Create {
        #[command(flatten)]
        of: Of,
        /// Where events are posted. (The address of the API goes before: `laneway admin --url …`.)
        #[arg(long = "url", id = "hook_url", value_name = "URL")]
        url: String,
        /// Event types it wants. Default: all.
        #[arg(long, value_delimiter = ',')]
        types: Vec<String>,
        /// Devices it wants. Default: all.
        #[arg(long, value_delimiter = ',')]
        devices: Vec<String>,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    Enable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    Disable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    Delete {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// How far behind it is, whether it waits, and its last error.
    Status {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// List events that it kept refusing while it took others.
    DeadLetters {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// Deliver dead letters again, under the ids they had.
    Redrive {
        #[command(flatten)]
        of: Of,
        id: String,
        /// Ids of events, separated by commas.
        #[arg(
            long,
            value_delimiter = ',',
            value_name = "IDS",
            required_unless_present = "all"
        )]
        events: Vec<String>,
        /// All of its dead letters.
        #[arg(long, conflicts_with = "events")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum OperatorKey {
    Create {
        /// Says what it is for.
        #[arg(long, default_value = "made on the command line")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Encrypt every secret anew with the current key. Repeating is safe.
    Rotate,
}
