//! What the role counts. Labelled by type, outcome or reason, never by tenant or device.

use foldhash::HashMap;
use laneway_schemas::EventType;

use crate::isolate::Reason;

/// Counted in the making of a unit, added to the metrics once for all.
#[derive(Default)]
pub struct Counts {
    pub fixes: u64,
    pub repeats: u64,
    pub late: u64,
    pub ahead: u64,
    pub session_events: u64,
    pub session_repeats: u64,
    pub session_late: u64,
    pub refused: HashMap<Reason, u64>,
}

impl Counts {
    /// Adds them, and the events by type, to the process's metrics; all are zero afterwards.
    pub fn publish(&mut self, events: &mut [u64; EventType::ALL.len()]) {
        for (name, value) in [
            ("accepted", self.fixes),
            ("repeat", self.repeats),
            ("late", self.late),
            ("ahead", self.ahead),
        ] {
            add("laneway_processor_fixes_total", "outcome", name, value);
        }
        for (name, value) in [
            ("accepted", self.session_events),
            ("repeat", self.session_repeats),
            ("late", self.session_late),
        ] {
            add(
                "laneway_processor_session_events_total",
                "outcome",
                name,
                value,
            );
        }
        for (reason, value) in self.refused.drain() {
            add(
                "laneway_processor_quarantined_total",
                "reason",
                reason.code(),
                value,
            );
        }
        for (kind, value) in EventType::ALL.into_iter().zip(std::mem::take(events)) {
            add("laneway_processor_events_total", "type", kind.name(), value);
        }
        *self = Counts::default();
    }
}

fn add(metric: &'static str, label: &'static str, value: &'static str, count: u64) {
    if count > 0 {
        metrics::counter!(metric, label => value).increment(count);
    }
}
