//! What makes a Rust type a contract: its Avro schema, and the topic it is written to.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    DestinationHealth, DestinationRedrive, LocationUpdate, Notice, Position, ProcessorState,
    Quarantined, QuotaWarning, SessionEvent, SessionStarted, SessionStopped, SessionUpdated,
    SinkCursor, TenantEvent, Window,
};

/// A record type with an Avro schema.
///
/// Reading decodes with the writer's schema into the current Rust type: a field that the writer
/// did not have takes its serde default, one that the type does not have is passed over.
pub trait Contract: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Full name of the record.
    const NAME: &'static str;
    /// The Avro schema, as JSON.
    const SCHEMA: &'static str;
    /// Logical topic that it is written to.
    const TOPIC: &'static str;
    /// Its place in [`CONTRACTS`].
    const SLOT: usize;
}

/// A contract's constants as values.
#[derive(Debug, Clone, Copy)]
pub struct ContractInfo {
    pub name: &'static str,
    pub schema: &'static str,
    pub topic: &'static str,
}

macro_rules! contracts {
    ($($slot:literal $type:ident $name:literal $file:literal $topic:literal,)*) => {
        $(impl Contract for $type {
            const NAME: &'static str = $name;
            const SCHEMA: &'static str = include_str!(concat!("../avro/", $file, ".avsc"));
            const TOPIC: &'static str = $topic;
            const SLOT: usize = $slot;
        })*

        /// Every contract, by slot.
        pub const CONTRACTS: &[ContractInfo] = &[
            $(ContractInfo {
                name: <$type as Contract>::NAME,
                schema: <$type as Contract>::SCHEMA,
                topic: <$type as Contract>::TOPIC,
            },)*
        ];
    };
}

contracts! {
    0 LocationUpdate "io.laneway.LocationUpdate" "location_update" "location-updates",
    1 SessionEvent "io.laneway.SessionEvent" "session_event" "session-events",
    2 TenantEvent "io.laneway.TenantEvent" "tenant_event" "tenant-events",
    3 Quarantined "io.laneway.Quarantined" "quarantined" "quarantine",
    4 Position "io.laneway.Position" "position" "tenant-streams",
    5 SessionStarted "io.laneway.SessionStarted" "session_started" "tenant-streams",
    6 SessionUpdated "io.laneway.SessionUpdated" "session_updated" "tenant-streams",
    7 SessionStopped "io.laneway.SessionStopped" "session_stopped" "tenant-streams",
    8 Window "io.laneway.Window" "window" "tenant-streams",
    9 ProcessorState "io.laneway.ProcessorState" "processor_state" "processor-state",
    10 SinkCursor "io.laneway.SinkCursor" "sink_cursor" "sink-cursors",
    11 DestinationHealth "io.laneway.DestinationHealth" "destination_health" "sink-signals",
    12 DestinationRedrive "io.laneway.DestinationRedrive" "destination_redrive" "sink-signals",
    13 QuotaWarning "io.laneway.QuotaWarning" "quota_warning" "tenant-streams",
    14 Notice "io.laneway.Notice" "notice" "tenant-streams",
}

/// The event types of `tenant-streams`, as CloudEvents name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventType {
    Position,
    SessionStarted,
    SessionUpdated,
    SessionStopped,
    Window,
    QuotaWarning,
    Notice,
}

impl EventType {
    pub const ALL: [EventType; 7] = [
        EventType::Position,
        EventType::SessionStarted,
        EventType::SessionUpdated,
        EventType::SessionStopped,
        EventType::Window,
        EventType::QuotaWarning,
        EventType::Notice,
    ];

    /// The CloudEvents `type`.
    pub fn name(self) -> &'static str {
        match self {
            EventType::Position => "laneway.position",
            EventType::SessionStarted => "laneway.session.started",
            EventType::SessionUpdated => "laneway.session.updated",
            EventType::SessionStopped => "laneway.session.stopped",
            EventType::Window => "laneway.window",
            EventType::QuotaWarning => "laneway.quota.warning",
            EventType::Notice => "laneway.notice",
        }
    }

    pub fn parse(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|t| t.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_parses_under_the_name_its_contract_gives() {
        for (slot, contract) in CONTRACTS.iter().enumerate() {
            let schema = apache_avro::Schema::parse_str(contract.schema)
                .unwrap_or_else(|e| panic!("slot {slot}, {}: {e}", contract.name));
            assert_eq!(
                schema.name().map(|n| n.to_string()),
                Some(contract.name.to_owned())
            );
        }
    }
}
