//! The groups of the roles: their names, and what each reads. One place, since whoever asks how
//! far a group has come is another role than the one that joins it.

use crate::Topic;

/// A group, whoever its members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: &'static str,
    pub topics: &'static [Topic],
}

/// Derives the tenants' streams from what was accepted.
pub const PROCESSOR: Group = Group {
    name: "processor",
    topics: &[Topic::LocationUpdates, Topic::SessionEvents],
};
/// Delivers to destinations.
pub const DELIVERIES: Group = Group {
    name: "sink",
    topics: &[Topic::TenantStreams],
};
/// Writes latest positions and sessions into the store.
pub const PROJECTION: Group = Group {
    name: "projection",
    topics: &[Topic::TenantStreams],
};
/// Counts what was accepted, and the devices that sent it, into the store.
pub const METERING: Group = Group {
    name: "metering",
    topics: &[Topic::LocationUpdates, Topic::SessionEvents],
};
/// Counts what was delivered into the store.
pub const METERING_DELIVERIES: Group = Group {
    name: "metering-deliveries",
    topics: &[Topic::SinkCursors],
};

pub const ALL: [Group; 5] = [
    PROCESSOR,
    DELIVERIES,
    PROJECTION,
    METERING,
    METERING_DELIVERIES,
];
