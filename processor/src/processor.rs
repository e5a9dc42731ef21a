//! The role: built from its dependencies, run until drained.

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_log::{Log, Topic, groups};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::Codecs;

use crate::health::Health;
use crate::settings::ProcessorSettings;
use crate::shared::Shared;

/// The consumer group of all processors.
pub const GROUP: &str = groups::PROCESSOR.name;
/// What it consumes; partition p of both has one owner.
pub const TOPICS: &[Topic] = groups::PROCESSOR.topics;

pub struct ProcessorDeps {
    pub log: Arc<dyn Log>,
    /// The topic set that it processes.
    pub set: u32,
    /// With every contract registered.
    pub codecs: Arc<Codecs>,
    /// Filled by [`laneway_directory::follow`], which runs beside the processor.
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    pub settings: ProcessorSettings,
    /// Names this processor over its restarts, and no other live one.
    pub instance: String,
}

/// Exactly once from `location-updates` and `session-events` to `tenant-streams`. It keeps one
/// core busy; a machine with more runs several, each under its own instance. Each topic set has
/// processors of its own.
pub struct Processor {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) set: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: ProcessorSettings,
    pub(crate) instance: String,
    pub(crate) shared: Shared,
    pub(crate) health: Health,
}

impl Processor {
    pub fn build(deps: ProcessorDeps) -> anyhow::Result<Processor> {
        deps.settings.validate()?;
        let shared = Shared::new(
            deps.codecs,
            deps.directory,
            deps.settings.bounds(),
            deps.settings.idle_close_us(),
            deps.log.max_record_bytes(),
        );
        Ok(Processor {
            log: deps.log,
            set: deps.set,
            clock: deps.clock,
            settings: deps.settings,
            instance: deps.instance,
            shared,
            health: Health::default(),
        })
    }

    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Until the drain: the open unit is committed then, and the group left.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        crate::run::run(self, lifecycle).await
    }
}
