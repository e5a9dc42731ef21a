//! Metering: what tenants use, counted from the topics into the store.
//!
//! Accepted events are counted where ingest wrote them, deliveries where the cursors of
//! destinations say how many were acknowledged. As with the projection, the group says who counts
//! which partition, and how far it has come is in the store, in the transaction that adds the
//! counts: whoever is killed where, every record counts once.

mod count;
mod session;
mod warning;

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_log::Log;
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

use crate::settings::MeteringSettings;
use crate::stored::Part;

/// What metering needs of the sink.
pub struct MeteringDeps {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub store: Store,
    pub authority: RoleAuthority,
    pub clock: Arc<dyn Clock>,
    pub settings: MeteringSettings,
    /// Names this member over its restarts.
    pub instance: String,
}

pub struct Metering {
    deps: MeteringDeps,
    part: Part,
}

impl Metering {
    pub fn new(deps: MeteringDeps) -> Self {
        let part = Part::new("metering");
        Metering { deps, part }
    }

    /// Why nothing is counted at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.part.trouble()
    }

    /// Runs until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let membership = || session::run(&self, &lifecycle);
        self.part.run(&lifecycle, membership).await
    }
}
