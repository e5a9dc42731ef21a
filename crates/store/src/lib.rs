//! The store: tenants, devices, credentials, destinations, the outbox of control changes, what
//! the projection wrote, and the schema registry. PostgreSQL in production, SQLite embedded; the
//! same queries on both.
//!
//! Invariant: every query on a tenant's rows begins at a scope and names the tenant. On
//! PostgreSQL row-level security holds the same line once more: each transaction takes a role
//! that owns nothing, and says for whom it acts in a setting that ends with it.

mod access;
mod accounts;
pub mod audit;
mod backup;
mod chunks;
mod closures;
mod codec;
mod config;
mod creations;
mod credentials;
mod demands;
mod destinations;
mod devices;
mod enrolment;
mod erasures;
mod error;
mod grants;
mod homes;
mod hosts;
mod idempotency;
mod keys;
mod leases;
mod migrate;
mod open;
mod outbox;
mod positions;
mod projection;
mod provisioning;
mod room;
mod rotation;
mod schemas;
mod secrets;
mod sessions;
mod settings;
mod shards;
mod share;
mod slow;
mod source;
mod tenants;
mod usage;

pub use accounts::{AccountChange, NewAccount, ServiceAccount, ServiceAccounts};
pub use closures::{Closure, ClosureStep, Closures};
pub use config::{Config, ConfigEntry, MOST_CONFIG_ENTRIES};
pub use creations::{CreationStep, Creations};
pub use credentials::{Credential, CredentialKind, Credentials, NewCredential, NewSecret};
pub use demands::{Demands, Share};
pub use destinations::{Destination, Destinations, NewDestination};
pub use devices::{
    Device, DeviceChange, DeviceFilter, Devices, ErasedDevice, NewDevice, NewToken, Registered,
    Seen,
};
pub use enrolment::{Enrolled, EnrolledBy, Enrolment, NotEnrolled};
pub use erasures::{Erasure, Erasures};
pub use error::{Result, StoreError};
pub use grants::{Granted, NewGrant, PartnerGrant, PartnerGrants};
pub use homes::{Claims, Swept};
pub use hosts::{Host, HostCertificate, HostProof, HostProofs, Hosts, NewCertificate, NewHost};
pub use idempotency::{Begun, IdempotentAnswers};
pub use keys::{ApiKey, ApiKeys, KeyChange, KeyRotation, NewKey};
pub use leases::Leases;
pub use open::{Store, StoreConfig};
pub use outbox::{Outbox, OutboxRow};
pub use positions::{LatestPosition, Positions};
pub use projection::{PositionRow, Projected, ProjectionBatch, SessionRow};
pub use provisioning::{ProvisioningKey, ProvisioningKeys, ProvisioningTerms};
pub use rotation::{Rotated, Rotation};
pub use schemas::{Deletion, NewSchema, RegisteredSchema, SchemaReference, SchemaStore};
pub use sessions::{Session, SessionState, Sessions};
pub use settings::Settings;
pub use shards::{MAIN, ShardConfig, ShardRule};
pub use source::StoreCredentials;
pub use tenants::{Dedicated, Family, First, NewTenant, Tenant, TenantChange, Tenants};
pub use usage::{
    Admitted, DeliveredTotal, DeviceDay, QuotaWarningRow, Quotas, Said, SocketUse, TenantUsage,
    Usage, UsageBatch, UsageCount, UsageDay, Usages, Warned, Warnings,
};
