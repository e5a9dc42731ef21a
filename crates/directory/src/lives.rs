//! When a device was known, as far as records may still have been accepted under it.

/// Lives that a device is remembered to have had: the oldest gives way.
const MAX_LIVES: usize = 16;

/// From the control version that registered a device until the one that removed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    since: i64,
    /// `i64::MAX` while it lasts.
    until: i64,
}

impl Life {
    fn holds(&self, version: i64) -> bool {
        (self.since..self.until).contains(&version)
    }
}

/// The lives of a device that may have been registered anew after it was removed.
#[derive(Debug)]
pub(crate) struct Lives {
    last: Life,
    /// Empty for most: a device then costs no allocation here. Oldest first.
    earlier: Box<[Life]>,
}

impl Lives {
    pub(crate) fn new(since: i64, until: Option<i64>) -> Self {
        Lives {
            last: life(since, until),
            earlier: Box::default(),
        }
    }

    /// Takes what was read of the life that began at `since`, in the order of versions.
    pub(crate) fn take(&mut self, since: i64, until: Option<i64>) {
        if self.last.since != since {
            let mut earlier = std::mem::take(&mut self.earlier).into_vec();
            earlier.push(self.last);
            let excess = (earlier.len() + 1).saturating_sub(MAX_LIVES);
            earlier.drain(..excess);
            self.earlier = earlier.into();
        }
        self.last = life(since, until);
    }

    pub(crate) fn knew(&self, version: i64) -> bool {
        self.last.holds(version) || self.earlier.iter().any(|life| life.holds(version))
    }

    /// The version that removed the device, where nothing registered it since.
    pub(crate) fn gone_at(&self) -> Option<i64> {
        (self.last.until != i64::MAX).then_some(self.last.until)
    }
}

fn life(since: i64, until: Option<i64>) -> Life {
    Life {
        since,
        until: until.unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_judged_by_the_life_it_falls_into() {
        let mut lives = Lives::new(3, None);
        lives.take(3, Some(5));
        assert_eq!(lives.gone_at(), Some(5));
        // The registration at 8 was compacted away.
        lives.take(8, Some(9));
        lives.take(12, None);
        assert_eq!(lives.gone_at(), None);
        let known: Vec<i64> = (0..15).filter(|v| lives.knew(*v)).collect();
        assert_eq!(known, [3, 4, 8, 12, 13, 14]);
    }

    #[test]
    fn the_lives_of_a_device_are_bounded() {
        let mut lives = Lives::new(0, Some(1));
        for since in 1..100 {
            lives.take(10 * since, Some(10 * since + 1));
        }
        assert_eq!(lives.earlier.len() + 1, MAX_LIVES);
        assert!(lives.knew(990) && lives.knew(840) && !lives.knew(830));
    }
}
