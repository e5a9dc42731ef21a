//! From when until when a credential holds.

/// In microseconds since 1970; `None` is without that bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    pub not_before: Option<i64>,
    pub expires_at: Option<i64>,
}

impl Validity {
    /// The end is not in it.
    pub fn holds(self, now: i64) -> bool {
        self.begun(now) && now < self.ends_at()
    }

    pub fn begun(self, now: i64) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// `i64::MAX` for one without an end.
    pub fn ends_at(self) -> i64 {
        self.expires_at.unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_holds_from_its_beginning_until_before_its_end() {
        let bounded = Validity {
            not_before: Some(10),
            expires_at: Some(20),
        };
        let held: Vec<i64> = (8..22).filter(|now| bounded.holds(*now)).collect();
        assert_eq!(held, (10..20).collect::<Vec<_>>());
        assert!(Validity::default().holds(i64::MIN) && Validity::default().holds(i64::MAX - 1));
    }
}
