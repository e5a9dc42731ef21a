//! Metering: what tenants use, counted from the topics into the store.
//!
//! Accepted events are counted where ingest wrote them, deliveries where the cursors of
//! destinations say how many were acknowledged, each by a group of its own ([`Counted`]). As with
//! the projection, the group says who counts which partition, and how far it has come is in the
//! store, in the transaction that adds the counts: whoever is killed where, every record counts
//! once.

mod count;
mod session;
mod warning;

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_log::groups::{METERING, METERING_DELIVERIES};
use laneway_log::{Log, Topic};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

use crate::settings::MeteringSettings;
use crate::stored::Part;

/// What metering needs of the sink.
pub struct MeteringDeps {
    pub log: Arc<dyn Log>,
    /// The topic set whose lanes it counts.
    pub set: u32,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub store: Store,
    pub authority: RoleAuthority,
    pub clock: Arc<dyn Clock>,
    pub settings: MeteringSettings,
    /// Names this member over its restarts.
    pub instance: String,
}

/// What one group counts. Only a reader of a single topic is told of what marks the end of a unit
/// there, and cursors are written in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Accepted,
    Delivered,
}

impl Counted {
    fn group(self) -> &'static str {
        match self {
            Counted::Accepted => METERING.name,
            Counted::Delivered => METERING_DELIVERIES.name,
        }
    }

    fn topics(self) -> &'static [Topic] {
        match self {
            Counted::Accepted => METERING.topics,
            Counted::Delivered => METERING_DELIVERIES.topics,
        }
    }
}

pub struct Metering {
    deps: MeteringDeps,
    accepted: Part,
    delivered: Part,
}

impl Metering {
    pub fn new(deps: MeteringDeps) -> Self {
        Metering {
            deps,
            accepted: Part::new("metering"),
            delivered: Part::new("metering of deliveries"),
        }
    }

    /// Why nothing is counted at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.accepted.trouble().or_else(|| self.delivered.trouble())
    }

    /// Runs until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let (metering, lifecycle) = (&*self, &lifecycle);
        let count = |counted| {
            let membership = move || session::run(metering, counted, lifecycle);
            metering.part(counted).run(lifecycle, membership)
        };
        tokio::try_join!(count(Counted::Accepted), count(Counted::Delivered))?;
        Ok(())
    }

    fn part(&self, counted: Counted) -> &Part {
        match counted {
            Counted::Accepted => &self.accepted,
            Counted::Delivered => &self.delivered,
        }
    }
}
