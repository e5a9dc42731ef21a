//! Which dead letters are asked for.

use std::collections::BTreeMap;

/// Which dead letters of a destination are asked for: those parked up to then.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Redrives {
    pub all: Option<i64>,
    /// By event id.
    pub events: BTreeMap<String, Redrive>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    pub lane: u32,
    pub requested_at: i64,
}

impl Redrives {
    /// Until when a dead letter has to be parked to be asked for.
    pub fn until(&self, event: &str) -> Option<i64> {
        let one = self.events.get(event).map(|r| r.requested_at);
        self.all.max(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_asked_for_by_its_id_or_with_all() {
        let one = Redrive {
            lane: 3,
            requested_at: 20,
        };
        let redrives = Redrives {
            all: Some(10),
            events: BTreeMap::from([("a".to_owned(), one)]),
        };
        assert_eq!(redrives.until("a"), Some(20));
        assert_eq!(redrives.until("b"), Some(10));
        assert_eq!(Redrives::default().until("b"), None);
    }
}
