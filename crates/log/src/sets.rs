//! Topic sets: the topics that most tenants share, and those of tenants that have their own.
//!
//! Each set has every co-partitioned topic, with equally many partitions, under a prefix of its
//! own. The lanes of all sets are numbered one after another, so that a lane says of which set it
//! is: with 24 partitions, 0 to 23 are the shared set's, 24 to 47 those of the first other one.

use std::ops::Range;

use crate::{LogConfig, Topic};

/// The sets of a log. Number 0 is the shared one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSets {
    partitions: u32,
    /// Of those beside the shared one.
    names: Vec<String>,
}

impl TopicSets {
    pub(crate) fn of(config: &LogConfig) -> Self {
        TopicSets {
            partitions: config.partitions.max(1),
            names: config.topic_sets.clone(),
        }
    }

    /// The numbers of all of them.
    pub fn all(&self) -> Range<u32> {
        0..1 + self.names.len() as u32
    }

    /// By its name; the shared one has none.
    pub fn number(&self, name: &str) -> Option<u32> {
        let index = self.names.iter().position(|known| known == name)?;
        Some(1 + index as u32)
    }

    /// Of one beside the shared one.
    pub fn name(&self, set: u32) -> Option<&str> {
        let index = set.checked_sub(1)?;
        self.names.get(index as usize).map(String::as_str)
    }

    /// How many lanes each has.
    pub fn size(&self) -> u32 {
        self.partitions
    }

    /// The lanes of a set.
    pub fn lanes(&self, set: u32) -> Range<u32> {
        set * self.partitions..(set + 1) * self.partitions
    }

    /// How many partitions a topic has, in all sets together.
    pub(crate) fn partitions(&self, topic: Topic) -> u32 {
        if topic.co_partitioned() {
            self.in_each(topic) * self.all().end
        } else {
            self.in_each(topic)
        }
    }

    /// How many it has in each set that it is in.
    pub(crate) fn in_each(&self, topic: Topic) -> u32 {
        if topic.co_partitioned() {
            self.partitions
        } else {
            1
        }
    }

    /// The set of a lane, and its number there.
    pub fn place(&self, lane: u32) -> (u32, u32) {
        (lane / self.partitions, lane % self.partitions)
    }

    /// What belongs to a set, as it is called in the log: `group` or `set.group`.
    pub(crate) fn within(&self, set: u32, name: &str) -> String {
        match self.name(set) {
            Some(set) => format!("{set}.{name}"),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_numbered_over_all_sets() {
        let sets = TopicSets {
            partitions: 24,
            names: vec!["bank".to_owned(), "rail".to_owned()],
        };
        assert_eq!(sets.all(), 0..3);
        assert_eq!((sets.number("rail"), sets.number("acme")), (Some(2), None));
        assert_eq!((sets.name(0), sets.name(1)), (None, Some("bank")));
        assert_eq!(sets.lanes(2), 48..72);
        assert_eq!((sets.place(23), sets.place(24)), ((0, 23), (1, 0)));
        assert_eq!(sets.partitions(Topic::TenantStreams), 72);
        assert_eq!(sets.partitions(Topic::TenantEvents), 1);
        assert_eq!(sets.within(0, "sink"), "sink");
        assert_eq!(sets.within(1, "sink"), "bank.sink");
    }
}
