//! Options that a tenant sets for itself; every role hears of them through `tenant-events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All have defaults: an older writer's body lacks the newer ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Features that are switched on or off by name.
    pub features: BTreeMap<String, bool>,
    pub branding: Branding,
    /// Origins that browsers may call the API from: `https://app.example.com`, or `*` for all.
    pub cors_origins: Vec<String>,
    /// Networks that the tenant's keys and devices may call from; empty for all.
    pub ip_allow: Vec<String>,
    /// How long new keys hold at most, in seconds; 0 for ever.
    pub key_lifetime_seconds: u64,
    /// Whether the tenant above may read this one's stream and positions.
    pub parent_may_read: bool,
}

/// How pages and messages in the tenant's name look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    pub name: String,
    /// An `https` address.
    pub logo_url: String,
    /// `#rrggbb`
    pub color: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {reason}")]
pub struct OptionError {
    pub option: &'static str,
    pub reason: String,
}

const MOST_FEATURES: usize = 100;
const MOST_ENTRIES: usize = 100;

impl Options {
    /// When a key that is made at `now`, in microseconds, ends at the latest; `None` for never.
    pub fn key_ends(&self, now: i64) -> Option<i64> {
        let seconds = i64::try_from(self.key_lifetime_seconds).unwrap_or(i64::MAX);
        (seconds > 0).then(|| now.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// What is wrong with them, if anything is. `is_network` judges an entry of `ip_allow`.
    pub fn check(&self, is_network: impl Fn(&str) -> bool) -> Result<(), OptionError> {
        let wrong = |option, reason: String| Err(OptionError { option, reason });
        if self.features.len() > MOST_FEATURES {
            return wrong("features", format!("at most {MOST_FEATURES}"));
        }
        if let Some(name) = self.features.keys().find(|name| !is_name(name)) {
            return wrong(
                "features",
                format!("{name:?} is not 1 to 64 of a–z 0–9 . _ -"),
            );
        }
        let Branding {
            name,
            logo_url,
            color,
        } = &self.branding;
        if name.chars().count() > 100 || name.chars().any(char::is_control) {
            return wrong("branding.name", "at most 100 characters".to_owned());
        }
        if !logo_url.is_empty() && (!logo_url.starts_with("https://") || logo_url.len() > 2048) {
            return wrong(
                "branding.logo_url",
                "an https address of at most 2048 bytes".to_owned(),
            );
        }
        if !color.is_empty() && !is_color(color) {
            return wrong("branding.color", "a colour as #rrggbb".to_owned());
        }
        if self.cors_origins.len() > MOST_ENTRIES || self.ip_allow.len() > MOST_ENTRIES {
            return wrong(
                "cors_origins, ip_allow",
                format!("at most {MOST_ENTRIES} entries each"),
            );
        }
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return wrong(
                "cors_origins",
                format!(
                    "{origin:?} is no origin: a scheme and a host, such as https://app.example.com, or *"
                ),
            );
        }
        if let Some(network) = self.ip_allow.iter().find(|network| !is_network(network)) {
            return wrong(
                "ip_allow",
                format!(
                    "{network:?} is no network: an address, or one with a prefix length such as 10.0.0.0/8"
                ),
            );
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        })
}

fn is_color(text: &str) -> bool {
    text.len() == 7 && text.starts_with('#') && text[1..].bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| {
        (1..=255).contains(&host.len())
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check(|text| text.contains('.')).unwrap_err().option
        };
        assert_eq!(Options::default().check(|_| false), Ok(()));
        assert_eq!(
            refused(&|o| o.branding.color = "#12345é".into()),
            "branding.color"
        );
        assert_eq!(
            refused(&|o| o.branding.logo_url = "http://x".into()),
            "branding.logo_url"
        );
        assert_eq!(
            refused(&|o| o.cors_origins = vec!["https://x/y".into()]),
            "cors_origins"
        );
        assert_eq!(refused(&|o| o.ip_allow = vec!["home".into()]), "ip_allow");
        assert_eq!(
            refused(&|o| o.features = [("A B".to_owned(), true)].into()),
            "features"
        );
        let fine = Options {
            cors_origins: vec!["https://app.example.com:8443".into(), "*".into()],
            ip_allow: vec!["10.0.0.0/8".into()],
            ..Options::default()
        };
        assert_eq!(fine.check(|text| text.contains('.')), Ok(()));
    }
}
