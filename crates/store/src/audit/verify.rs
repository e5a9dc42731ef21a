//! Verifies a chain entry by entry: by what was exported alone, without a store.

use super::entry::{AuditEntry, NO_HASH, Salted};

/// A chain that holds as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub tenant: String,
    pub entries: i64,
    /// The hash of the last entry: keep it elsewhere, and a truncated chain is noticed.
    pub head: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("line {line} is no entry of an audit trail: {reason}")]
    Unreadable { line: u64, reason: String },
    #[error(
        "line {line}: the entry is of the chain of {found}, the others are of {expected}; verify one chain at a time"
    )]
    OtherChain {
        line: u64,
        expected: String,
        found: String,
    },
    #[error("entry {expected} is missing: {found} comes in its place")]
    Gap { expected: i64, found: i64 },
    #[error("entry {seq} does not follow from the one before it: one of the two was changed")]
    Unchained { seq: i64 },
    #[error("entry {seq} was changed: its hash does not match what it says")]
    Changed { seq: i64 },
    #[error("entry {seq}: its {field} is not what was recorded")]
    Forged { seq: i64, field: &'static str },
    #[error(
        "no entry has the hash {head}: the end of the chain is missing, or the hash is another chain's"
    )]
    Truncated { head: String },
}

/// Takes the entries of one chain in their order, from the first.
#[derive(Debug, Default)]
pub struct Verifier {
    line: u64,
    tenant: Option<String>,
    entries: i64,
    head: Option<String>,
    wanted: Option<String>,
    found_wanted: bool,
}

impl Verifier {
    /// `head`: a hash that was noted earlier, and has to be in the chain.
    pub fn new(head: Option<&str>) -> Self {
        Verifier {
            wanted: head.map(str::to_ascii_lowercase),
            ..Verifier::default()
        }
    }

    pub fn line(&mut self, line: &str) -> Result<(), Broken> {
        let entry: AuditEntry = serde_json::from_str(line).map_err(|e| Broken::Unreadable {
            line: self.line + 1,
            reason: e.to_string(),
        })?;
        self.entry(&entry)
    }

    pub fn entry(&mut self, entry: &AuditEntry) -> Result<(), Broken> {
        self.line += 1;
        let seq = entry.seq;
        let tenant = self.tenant.get_or_insert_with(|| entry.tenant.clone());
        if *tenant != entry.tenant {
            return Err(Broken::OtherChain {
                line: self.line,
                expected: tenant.clone(),
                found: entry.tenant.clone(),
            });
        }
        if seq != self.entries + 1 {
            return Err(Broken::Gap {
                expected: self.entries + 1,
                found: seq,
            });
        }
        if entry.previous != self.head.as_deref().unwrap_or(NO_HASH) {
            return Err(Broken::Unchained { seq });
        }
        if entry.hash != entry.computed_hash() {
            return Err(Broken::Changed { seq });
        }
        let (personal, held) = (&entry.personal, &entry.commitments);
        for (field, opened, commitment) in [
            ("address", &personal.address, &held.address),
            ("user_agent", &personal.user_agent, &held.user_agent),
            ("name", &personal.name, &held.name),
        ] {
            let matches = |s: &Salted| s.commitment(field) == *commitment;
            if !opened.as_ref().is_none_or(matches) {
                return Err(Broken::Forged { seq, field });
            }
        }
        self.entries = seq;
        self.found_wanted |= self.wanted.as_deref() == Some(entry.hash.as_str());
        self.head = Some(entry.hash.clone());
        Ok(())
    }

    pub fn finish(self) -> Result<Verified, Broken> {
        match self.wanted {
            Some(head) if !self.found_wanted && head != NO_HASH => Err(Broken::Truncated { head }),
            _ => Ok(Verified {
                tenant: self.tenant.unwrap_or_default(),
                entries: self.entries,
                head: self.head.unwrap_or_else(|| NO_HASH.to_owned()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Commitments, Facts, Opened};
    use super::*;

    fn chain(n: i64) -> Vec<AuditEntry> {
        let mut previous = NO_HASH.to_owned();
        (1..=n)
            .map(|seq| {
                let address = Salted {
                    salt: "ab".repeat(32),
                    value: format!("192.0.2.{seq}"),
                };
                let mut entry = AuditEntry {
                    tenant: "ten_1".into(),
                    seq,
                    facts: Facts {
                        at: seq,
                        action: "POST /devices".into(),
                        count: 1,
                        ..Facts::default()
                    },
                    commitments: Commitments {
                        address: address.commitment("address"),
                        ..Commitments::default()
                    },
                    previous: previous.clone(),
                    hash: String::new(),
                    personal: Opened {
                        address: Some(address),
                        ..Opened::default()
                    },
                };
                entry.hash = entry.computed_hash();
                previous.clone_from(&entry.hash);
                entry
            })
            .collect()
    }

    fn verify(chain: &[AuditEntry], head: Option<&str>) -> Result<Verified, Broken> {
        let mut verifier = Verifier::new(head);
        for entry in chain {
            verifier.line(&serde_json::to_string(entry).unwrap())?;
        }
        verifier.finish()
    }

    #[test]
    fn whatever_is_changed_removed_or_moved_is_noticed() {
        let good = chain(5);
        assert_eq!(verify(&good, None).unwrap().entries, 5);
        let mut changed = good.clone();
        changed[2].facts.principal = "somebody else".into();
        assert_eq!(verify(&changed, None), Err(Broken::Changed { seq: 3 }));
        changed[2].hash = changed[2].computed_hash();
        assert_eq!(verify(&changed, None), Err(Broken::Unchained { seq: 4 }));
        let mut removed = good.clone();
        removed.remove(1);
        assert_eq!(
            verify(&removed, None),
            Err(Broken::Gap {
                expected: 2,
                found: 3
            })
        );
        let mut forged = good.clone();
        forged[0].personal.address.as_mut().unwrap().value = "192.0.2.99".into();
        assert!(matches!(
            verify(&forged, None),
            Err(Broken::Forged {
                seq: 1,
                field: "address"
            })
        ));
        let mut other = good.clone();
        other[4].tenant = "ten_2".into();
        assert!(matches!(
            verify(&other, None),
            Err(Broken::OtherChain { line: 5, .. })
        ));
    }

    #[test]
    fn a_chain_verifies_after_what_is_personal_was_erased() {
        let mut erased = chain(3);
        for entry in &mut erased {
            entry.personal = Opened::default();
        }
        assert_eq!(verify(&erased, None).unwrap().entries, 3);
    }

    #[test]
    fn a_truncated_chain_is_noticed_by_a_hash_that_was_noted() {
        let good = chain(5);
        let head = good[4].hash.clone();
        assert!(verify(&good, Some(&head)).is_ok());
        assert!(verify(&good, Some(&good[2].hash)).is_ok());
        assert_eq!(
            verify(&good[..4], Some(&head)),
            Err(Broken::Truncated { head })
        );
        assert_eq!(verify(&good[..4], None).unwrap().entries, 4);
    }
}
