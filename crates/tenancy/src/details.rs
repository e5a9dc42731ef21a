//! What a tenant says of a device besides its id, within bounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DeviceId;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Most characters of a device's name.
pub const MAX_NAME: usize = 100;
/// Most labels of a device.
pub const MAX_LABELS: usize = 32;
/// Most bytes of a label's value.
pub const MAX_VALUE: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    #[error("name: at most {MAX_NAME} characters, and none that controls a terminal")]
    Name,
    #[error(
        "group: 1 to 64 of the characters A–Z a–z 0–9 . _ : -, beginning with a letter or a digit"
    )]
    Group,
    #[error("labels: at most {MAX_LABELS}")]
    Labels,
    #[error(
        "labels: the name `{0}` must have 1 to 64 of the characters A–Z a–z 0–9 . _ : -, and begin with a letter or a digit"
    )]
    Label(String),
    #[error(
        "labels: the value of `{0}` must have at most {MAX_VALUE} bytes, and no character that controls a terminal"
    )]
    Value(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceDetails {
    /// For people; may be empty.
    pub name: String,
    /// Empty for a device that is in none.
    pub group: String,
    pub labels: Labels,
}

impl DeviceDetails {
    pub fn check(&self) -> Result<(), DetailsError> {
        if self.name.chars().count() > MAX_NAME || self.name.contains(char::is_control) {
            return Err(DetailsError::Name);
        }
        if !self.group.is_empty() && !is_mark(&self.group) {
            return Err(DetailsError::Group);
        }
        check_labels(&self.labels)
    }
}

/// Labels of a device, or what a device says of its hardware.
pub fn check_labels(labels: &Labels) -> Result<(), DetailsError> {
    if labels.len() > MAX_LABELS {
        return Err(DetailsError::Labels);
    }
    for (name, value) in labels {
        if !is_mark(name) {
            return Err(DetailsError::Label(name.chars().take(64).collect()));
        }
        if value.len() > MAX_VALUE || value.contains(char::is_control) {
            return Err(DetailsError::Value(name.clone()));
        }
    }
    Ok(())
}

/// Groups and the names of labels look like ids of devices.
fn is_mark(text: &str) -> bool {
    DeviceId::is_valid(text)
}

/// Whether a device's id has the form of `pattern`, in which each `*` stands for any characters.
pub fn matches(pattern: &str, id: &str) -> bool {
    let (pattern, id) = (pattern.as_bytes(), id.as_bytes());
    let (mut p, mut i) = (0, 0);
    // The last star, and the first byte that it does not stand for as yet.
    let mut star: Option<(usize, usize)> = None;
    while i < id.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, i));
            p += 1;
        } else if pattern.get(p) == Some(&id[i]) {
            p += 1;
            i += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            i = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_the_ids_that_it_looks_like() {
        for (pattern, id, expected) in [
            ("*", "truck-7", true),
            ("truck-*", "truck-7", true),
            ("truck-*", "truck", false),
            ("*-eu-*", "van-eu-3", true),
            ("*-eu-*", "van-us-3", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("truck-7", "truck-77", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn what_has_no_bound_or_would_break_a_terminal_is_refused() {
        let details = |name: &str, group: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            DeviceDetails {
                name: name.into(),
                group: group.into(),
                labels: labels.collect(),
            }
            .check()
        };
        assert_eq!(details("Ünimog 7", "north", &[("vin", "WDB 1")]), Ok(()));
        assert_eq!(details("", "", &[]), Ok(()));
        assert_eq!(details(&"x".repeat(101), "", &[]), Err(DetailsError::Name));
        assert_eq!(details("\x1b[2J", "", &[]), Err(DetailsError::Name));
        assert_eq!(details("", "a b", &[]), Err(DetailsError::Group));
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a", "\n"),
            ("a", &"x".repeat(129)),
        ] {
            assert!(details("", "", &[(name, value)]).is_err(), "{name} {value}");
        }
        let many: Labels = (0..33).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!(check_labels(&many), Err(DetailsError::Labels));
    }
}
