//! What every role knows of the tenants, followed from `tenant-events`.

mod chain;
mod directory;
mod follow;
mod forget;
mod grants;
mod key;
mod lives;

pub use chain::Chain;
pub use directory::{DestinationEntry, Directory, DirectoryChange, TenantEntry};
pub use follow::follow;
pub use grants::GrantEntry;
pub use key::record_key;
