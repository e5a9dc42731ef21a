//! The projection: latest positions and sessions into the store, for the API and the console.
//!
//! The group says who projects which partition; how far it has come is in the store, in the
//! transaction that writes the rows. So a row is never lost, and what is written twice is the
//! same.

mod lane;
mod rows;
mod session;

use std::sync::Arc;

use laneway_log::Log;
use laneway_runtime::Lifecycle;
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

use crate::settings::ProjectionSettings;
use crate::stored::Part;

pub struct Projection {
    log: Arc<dyn Log>,
    /// The topic set whose lanes it projects.
    set: u32,
    codecs: Arc<Codecs>,
    store: Store,
    authority: RoleAuthority,
    settings: ProjectionSettings,
    instance: String,
    part: Part,
}

impl Projection {
    pub fn new(
        (log, set): (Arc<dyn Log>, u32),
        codecs: Arc<Codecs>,
        store: Store,
        authority: RoleAuthority,
        settings: ProjectionSettings,
        instance: String,
    ) -> Self {
        Projection {
            log,
            set,
            codecs,
            store,
            authority,
            settings,
            instance,
            part: Part::new("the projection"),
        }
    }

    /// Why not everything is projected at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.part.trouble()
    }

    /// Runs until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let membership = || session::run(&self, &lifecycle);
        self.part.run(&lifecycle, membership).await
    }
}
