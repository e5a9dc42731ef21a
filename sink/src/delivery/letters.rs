//! The dead letters of one destination in one lane: events that it kept refusing while it took
//! others. The log keeps them, beside the cursors, for as long as it keeps the events; here is
//! what it takes to find them again.

use std::collections::BTreeMap;

use super::redrives::Redrives;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub event_id: Box<str>,
    /// In microseconds since 1970.
    pub parked_at: i64,
    /// It is being read or delivered again.
    pub under_way: bool,
}

#[derive(Debug, Default)]
pub struct Letters {
    /// By the offset of the event.
    letters: BTreeMap<u64, Letter>,
    under_way: usize,
}

impl Letters {
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// How many are being read or delivered again.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    pub fn park(&mut self, offset: u64, event_id: &str, parked_at: i64) {
        let letter = Letter {
            event_id: event_id.into(),
            parked_at,
            under_way: false,
        };
        let before = self.letters.insert(offset, letter);
        self.forget(before.as_ref());
    }

    pub fn remove(&mut self, offset: u64) -> Option<Letter> {
        let letter = self.letters.remove(&offset);
        self.forget(letter.as_ref());
        letter
    }

    pub fn iter(&self) -> impl Iterator<Item = &Letter> {
        self.letters.values()
    }

    /// Those whose event is no longer kept.
    pub fn expire(&mut self, earliest: u64) -> Vec<Letter> {
        let kept = self.letters.split_off(&earliest);
        let gone = std::mem::replace(&mut self.letters, kept);
        gone.values().for_each(|letter| self.forget(Some(letter)));
        gone.into_values().collect()
    }

    /// The next few that are asked for, which are under way from now on, in the order of their
    /// offsets. At most `most` are at a time.
    pub fn begin(&mut self, redrives: &Redrives, most: usize) -> Vec<u64> {
        let due = self.letters.iter_mut().filter(|(_, letter)| {
            let until = redrives.until(&letter.event_id);
            !letter.under_way && until.is_some_and(|until| letter.parked_at <= until)
        });
        let begun: Vec<u64> = due
            .take(most.saturating_sub(self.under_way))
            .map(|(offset, letter)| {
                letter.under_way = true;
                *offset
            })
            .collect();
        self.under_way += begun.len();
        begun
    }

    /// Those of these that were under way have ended without an outcome.
    pub fn give_up(&mut self, offsets: &[u64]) {
        for offset in offsets {
            if let Some(letter) = self.letters.get_mut(offset).filter(|l| l.under_way) {
                letter.under_way = false;
                self.under_way -= 1;
            }
        }
    }

    /// The same of all.
    pub fn reset(&mut self) {
        self.letters.values_mut().for_each(|l| l.under_way = false);
        self.under_way = 0;
    }

    fn forget(&mut self, letter: Option<&Letter>) {
        if letter.is_some_and(|letter| letter.under_way) {
            self.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_parked_before_the_request_are_begun_once_and_a_few_at_a_time() {
        let mut letters = Letters::default();
        for (offset, parked_at) in [(30, 1), (10, 2), (20, 9), (40, 3)] {
            letters.park(offset, &format!("e{offset}"), parked_at);
        }
        let all = Redrives {
            all: Some(3),
            ..Redrives::default()
        };
        assert!(letters.begin(&Redrives::default(), 9).is_empty());
        assert_eq!(letters.begin(&all, 2), [10, 30]);
        assert!(letters.begin(&all, 2).is_empty());
        letters.remove(10);
        assert_eq!(letters.begin(&all, 2), [40]);
        letters.park(30, "e30", 4);
        assert_eq!(letters.under_way(), 1, "refused again: parked anew");
        letters.give_up(&[40]);
        assert_eq!(letters.begin(&all, 9), [40]);
        letters.reset();
        assert_eq!((letters.under_way(), letters.len()), (0, 3));
    }

    #[test]
    fn a_letter_is_kept_as_long_as_its_event() {
        let mut letters = Letters::default();
        for offset in [1, 2, 3] {
            letters.park(offset, &format!("e{offset}"), 0);
        }
        let expired: Vec<_> = letters.expire(3).into_iter().map(|l| l.event_id).collect();
        assert_eq!(expired, ["e1".into(), "e2".into()]);
        let kept: Vec<_> = letters.iter().map(|l| &*l.event_id).collect();
        assert_eq!(kept, ["e3"]);
    }
}
