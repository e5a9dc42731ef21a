//! What every role knows of the tenants, followed from `tenant-events`.

mod directory;
mod follow;

pub use directory::{DestinationEntry, Directory, DirectoryChange, TenantEntry};
pub use follow::follow;
