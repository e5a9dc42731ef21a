//! Logical topics. Physical names are `LogConfig::topic_prefix`, the name of the topic set and a
//! dot (nothing for the shared one), and [`Topic::name`].

/// Every topic there is. The discriminant is stored by the embedded log: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Topic {
    /// Fixes, as accepted by ingest.
    LocationUpdates = 0,
    /// Session starts and stops, as accepted by ingest.
    SessionEvents = 1,
    /// Control changes: tenants, devices, credentials, destinations. Compacted, one partition.
    TenantEvents = 2,
    /// Everything derived, all event types of a device in one order.
    TenantStreams = 3,
    /// What isolation or decoding refused, with why and whence.
    Quarantine = 4,
    /// The processor's state per device. Compacted.
    ProcessorState = 5,
    /// Cursors and dead letters of the sink's destinations. Compacted.
    SinkCursors = 6,
    /// What sinks tell each other of destinations, and what is asked of them. Compacted, one
    /// partition.
    SinkSignals = 7,
}

impl Topic {
    pub const ALL: [Topic; 8] = [
        Topic::LocationUpdates,
        Topic::SessionEvents,
        Topic::TenantEvents,
        Topic::TenantStreams,
        Topic::Quarantine,
        Topic::ProcessorState,
        Topic::SinkCursors,
        Topic::SinkSignals,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Topic::LocationUpdates => "location-updates",
            Topic::SessionEvents => "session-events",
            Topic::TenantEvents => "tenant-events",
            Topic::TenantStreams => "tenant-streams",
            Topic::Quarantine => "quarantine",
            Topic::ProcessorState => "processor-state",
            Topic::SinkCursors => "sink-cursors",
            Topic::SinkSignals => "sink-signals",
        }
    }

    /// Keeps the last record of each key instead of the last days of records.
    pub fn compacted(self) -> bool {
        matches!(
            self,
            Topic::TenantEvents | Topic::ProcessorState | Topic::SinkCursors | Topic::SinkSignals
        )
    }

    /// Shares the partition count and the partitioner with all other tenant-keyed topics, and is
    /// in every topic set. [`Topic::TenantEvents`] and [`Topic::SinkSignals`] are not: every node
    /// reads all of them, and they have one partition.
    pub fn co_partitioned(self) -> bool {
        !matches!(self, Topic::TenantEvents | Topic::SinkSignals)
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
