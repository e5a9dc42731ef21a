//! A host that a tenant can register.

use std::fmt;
use std::str::FromStr;

use super::look_alike::looks_like_ascii;
use super::name::{MAX_NAME, is_label};

/// What the name of the proof's DNS record begins with.
const PROOF: &str = "_laneway.";

/// `tracks.example.com`, or `*.fleet.example.com` for every name below: in lower case, without a
/// final dot, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(Box<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error(
        "{0:?} is no host: write a name such as tracks.example.com, or *.fleet.example.com for all below"
    )]
    Malformed(String),
    #[error("the host is longer than {} characters", MAX_NAME - PROOF.len())]
    TooLong,
    #[error("{0:?} is an address: register a name")]
    Address(String),
    #[error("{0:?} belongs to a whole registry of names: register one below it")]
    PublicSuffix(String),
    #[error("{0:?} is no valid internationalised name: write it as its registry has it, in ASCII")]
    Punycode(String),
    #[error("{0:?} looks like another name in Latin letters")]
    LookAlike(String),
}

impl HostPattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Without the asterisk.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Whose TXT record proves that the host is the tenant's.
    pub fn proof_name(&self) -> String {
        format!("{PROOF}{}", self.base())
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        // What is shown is bounded, and long enough to be recognised.
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > 2 * MAX_NAME {
            return Err(HostError::TooLong);
        }
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        let base = lower.strip_prefix("*.").unwrap_or(lower);
        if base.len() + PROOF.len() > MAX_NAME {
            return Err(HostError::TooLong);
        }
        let labels = || base.split('.');
        if labels().count() < 2 || !labels().all(|l| is_label(l) && !l.contains('_')) {
            return Err(HostError::Malformed(shown()));
        }
        let digits = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        if labels().next_back().is_some_and(digits) {
            return Err(HostError::Address(shown()));
        }
        labels().try_for_each(internationalised)?;
        if psl::domain_str(base).is_none() {
            return Err(HostError::PublicSuffix(shown()));
        }
        Ok(HostPattern(lower.into()))
    }
}

/// A label with two hyphens in third place says how it is encoded: as punycode, or not at all.
fn internationalised(label: &str) -> Result<(), HostError> {
    if label.get(2..4) != Some("--") {
        return Ok(());
    }
    let (unicode, valid) = idna::domain_to_unicode(label);
    let again = idna::domain_to_ascii_strict(&unicode);
    let same = again.is_ok_and(|again| again == label);
    if valid.is_err() || unicode.is_ascii() || !same {
        return Err(HostError::Punycode(label.to_owned()));
    }
    if looks_like_ascii(&unicode) {
        return Err(HostError::LookAlike(label.to_owned()));
    }
    Ok(())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards_below_a_registrable_one_can_be_registered() {
        for (text, is) in [
            ("Tracks.Example.com.", "tracks.example.com"),
            ("example.co.uk", "example.co.uk"),
            ("*.Fleet.example.com", "*.fleet.example.com"),
            ("*.example.com", "*.example.com"),
            ("xn--mller-kva.example", "xn--mller-kva.example"),
            ("xn--80adxhks.example", "xn--80adxhks.example"),
        ] {
            let pattern: HostPattern = text.parse().unwrap();
            assert_eq!(pattern.as_str(), is);
            assert_eq!(pattern.is_wildcard(), is.starts_with('*'));
        }
        let pattern: HostPattern = "*.fleet.example.com".parse().unwrap();
        assert_eq!(pattern.proof_name(), "_laneway.fleet.example.com");
    }

    #[test]
    fn what_is_no_ones_own_name_cannot() {
        let long = format!("{}.example.com", "a.".repeat(120));
        for text in [
            "",
            "com",
            "localhost",
            "*",
            "*.com",
            "co.uk",
            "*.co.uk",
            "10.0.0.1",
            "1.2.3",
            "[::1]",
            "a_b.example.com",
            "a.*.example.com",
            "**.example.com",
            "a..example.com",
            "example.com:443",
            "https://example.com",
            "müller.example",
            // Not valid punycode, and punycode of what needs none.
            "xn--a.example",
            "xn--abc-.example",
            "ab--c.example",
            // "аррӏе" and "pаypal", with letters that are not Latin.
            "xn--80ak6aa92e.example",
            "xn--pypal-4ve.example",
            &long,
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
