//! An entry of a chain, and the bytes that its hash is taken over. `docs/audit.md` says the same
//! for those who verify without this code.
//!
//! Invariant: what is hashed never changes for a version. A new field makes a new version.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::codec::hex;

/// Separates these hashes from all others, and names the version of the encoding.
const ENTRY_TAG: &[u8] = b"laneway.audit.entry.v1\0";
const FIELD_TAG: &[u8] = b"laneway.audit.field.v1\0";

/// The hash before the first entry of a chain.
pub const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened, as far as the chain holds it. Times are microseconds since 1970; a text that
/// does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    pub at: i64,
    /// Method and route template, such as `POST /devices/{device}/credentials`.
    pub action: String,
    /// What it was done to: the parameters of the route, such as `device=truck`.
    pub target: String,
    /// `done`, `begun`, or an HTTP status and the kind of the problem.
    pub outcome: String,
    /// `key:key_…`, `device:…`, `operator` (over the local socket) or `role:…`.
    pub principal: String,
    /// The tenant that the principal belongs to.
    pub principal_tenant: String,
    /// The tenant that the request was about, as it was named where it was refused.
    pub request_tenant: String,
    pub request_id: String,
    /// How many times: more than one where refusals were counted together.
    pub count: i64,
    pub first_at: i64,
    pub last_at: i64,
    /// JSON: what was changed.
    pub detail: String,
}

/// SHA-256 over salt, field and value, in hexadecimal digits; empty where there was no value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Commitments {
    pub address: String,
    pub user_agent: String,
    pub name: String,
}

/// A value that is personal, with the salt of its commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salted {
    /// 32 bytes in hexadecimal digits.
    pub salt: String,
    pub value: String,
}

/// What is personal of an entry. What is `None` was never there, or is erased.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Opened {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Salted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Salted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Salted>,
}

/// An entry as it is exported: a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Whose chain it is in.
    pub tenant: String,
    /// From 1, without a gap.
    pub seq: i64,
    #[serde(flatten)]
    pub facts: Facts,
    pub commitments: Commitments,
    /// The hash of the entry before it.
    pub previous: String,
    pub hash: String,
    #[serde(default)]
    pub personal: Opened,
}

impl AuditEntry {
    /// The hash that the entry has to have.
    pub fn computed_hash(&self) -> String {
        let f = &self.facts;
        let number = |n: i64| n.to_string();
        digest(
            ENTRY_TAG,
            &[
                &self.tenant,
                &number(self.seq),
                &self.previous,
                &number(f.at),
                &f.action,
                &f.target,
                &f.outcome,
                &f.principal,
                &f.principal_tenant,
                &f.request_tenant,
                &f.request_id,
                &number(f.count),
                &number(f.first_at),
                &number(f.last_at),
                &f.detail,
                &self.commitments.address,
                &self.commitments.user_agent,
                &self.commitments.name,
            ],
        )
    }
}

impl Salted {
    pub fn commitment(&self, field: &str) -> String {
        digest(FIELD_TAG, &[&self.salt, field, &self.value])
    }
}

/// SHA-256 over a tag and texts, each behind its length in bytes (4 bytes, big-endian).
fn digest(tag: &[u8], texts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(tag);
    for text in texts {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        context.update(&length.to_be_bytes());
        context.update(text.as_bytes());
    }
    hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_of_version_1_does_not_change() {
        let entry = AuditEntry {
            tenant: "ten_1".into(),
            seq: 1,
            facts: Facts {
                at: 1_790_000_000_000_000,
                action: "POST /devices".into(),
                outcome: "done".into(),
                principal: "operator".into(),
                count: 1,
                ..Facts::default()
            },
            commitments: Commitments::default(),
            previous: NO_HASH.into(),
            hash: String::new(),
            personal: Opened::default(),
        };
        assert_eq!(
            entry.computed_hash(),
            "f169e71e004ca1e522bd718ad6c265454d22b47659e725baf612edbc48a93eb1"
        );
        let salted = Salted {
            salt: "00".repeat(32),
            value: "192.0.2.1".into(),
        };
        assert_eq!(
            salted.commitment("address"),
            "e2565b227b8225b4ceea6ff80c6b20b81d56064e2c7e9f75fc6cdd78c9e506bf"
        );
    }

    #[test]
    fn no_text_can_pass_for_its_neighbour() {
        assert_ne!(digest(b"t", &["ab", "c"]), digest(b"t", &["a", "bc"]));
        assert_ne!(digest(b"t", &["a", ""]), digest(b"t", &["", "a"]));
    }
}
