//! What the records of `sink-cursors` and `sink-signals` are keyed by, and the JSON of a dead
//! letter. A key begins with the tenant and the destination.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// An event that a destination kept refusing: `SinkCursor::dead`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub event_id: String,
    pub device: String,
    pub reason: String,
    /// Refusals before it was parked.
    pub attempts: u32,
    /// In microseconds since 1970.
    #[serde(default)]
    pub parked_at: i64,
}

/// Of how far a destination is in a lane.
pub fn cursor_key(tenant: impl Display, destination: impl Display, lane: u32) -> String {
    format!("{tenant}/{destination}/{lane}")
}

/// Of all dead letters of a destination; the event id follows.
pub fn dead_letters_key(tenant: impl Display, destination: impl Display) -> String {
    format!("{tenant}/{destination}/dead/")
}

/// Of a dead letter.
pub fn dead_letter_key(tenant: impl Display, destination: impl Display, event: &str) -> String {
    format!("{tenant}/{destination}/dead/{event}")
}

/// Of what is known of a destination's health.
pub fn health_key(tenant: impl Display, destination: impl Display) -> String {
    format!("{tenant}/{destination}")
}

/// Whether a key of `sink-signals` is a destination's, and not that of a request to redrive.
pub fn is_health_key(key: &[u8]) -> bool {
    key.iter().filter(|byte| **byte == b'/').count() == 1
}

/// Of the request to redrive one dead letter, or all.
pub fn redrive_key(tenant: impl Display, destination: impl Display, event: Option<&str>) -> String {
    match event {
        Some(event) => format!("{tenant}/{destination}/redrive/{event}"),
        None => format!("{tenant}/{destination}/redrive"),
    }
}
