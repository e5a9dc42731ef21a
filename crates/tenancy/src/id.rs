//! Identifiers. Ids that the platform gives are 128 bits, shown in Crockford's base 32 behind
//! a prefix that says what they name; ids that tenants choose are short printable strings.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{kind} must be `{prefix}` followed by 26 characters of base 32")]
    Form {
        kind: &'static str,
        prefix: &'static str,
    },
    #[error(
        "{kind} must have 1 to {max} of the characters A–Z a–z 0–9 . _ : -, and begin with a letter or a digit"
    )]
    Name { kind: &'static str, max: usize },
}

pub(crate) const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn base32(value: u128) -> [u8; 26] {
    let mut out = [0u8; 26];
    for (i, slot) in out.iter_mut().enumerate() {
        let shift = 5 * (25 - i);
        *slot = ALPHABET[((value >> shift) & 31) as usize];
    }
    out
}

fn from_base32(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (i, c) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|a| *a == c)? as u128;
        // 26 digits hold 130 bits: the first one has only 3.
        if i == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | digit;
    }
    Some(value)
}

macro_rules! given_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// From 128 bits, a UUID of version 7 for one.
            pub fn from_u128(bits: u128) -> Self {
                $name(bits)
            }

            pub fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = base32(self.0);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(from_base32)
                    .map($name)
                    .ok_or(IdError::Form { kind: $kind, prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

given_id!(
    /// A tenant's id. Never changes; its slug may.
    TenantId, "ten_", "a tenant id"
);
given_id!(
    /// A reader's or operator's API key.
    KeyId, "key_", "a key id"
);
given_id!(
    /// A service account: a named owner of keys that is no person.
    AccountId, "svc_", "a service account's id"
);
given_id!(
    /// A credential of a device.
    CredentialId, "crd_", "a credential id"
);
given_id!(
    /// A key with which devices enrol themselves.
    ProvisioningKeyId, "pvk_", "a provisioning key's id"
);
given_id!(
    /// A destination.
    DestinationId, "dst_", "a destination id"
);

given_id!(
    /// A grant: what a partner may read of a tenant.
    GrantId, "grt_", "a grant's id"
);

macro_rules! chosen_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub const MAX: usize = $max;

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether `text` is a valid id of this kind.
            pub fn is_valid(text: &str) -> bool {
                let mut bytes = text.bytes();
                text.len() <= $max
                    && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
                    && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if Self::is_valid(text) {
                    Ok($name(text.into()))
                } else {
                    Err(IdError::Name { kind: $kind, max: $max })
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

chosen_id!(
    /// A device's id, chosen by its tenant and unique within it.
    DeviceId, 64, "a device id"
);
chosen_id!(
    /// A session's id, chosen by the client or by the platform, unique within its device.
    SessionId, 64, "a session id"
);

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn given_ids_survive_their_text_form(bits: u128) {
            let id = TenantId::from_u128(bits);
            let text = id.to_string();
            proptest::prop_assert_eq!(text.len(), 30);
            proptest::prop_assert_eq!(text.parse::<TenantId>().unwrap(), id);
        }
    }

    #[test]
    fn ids_that_could_break_a_record_key_are_refused() {
        for bad in ["", "a/b", "~", "a b", "-a", "é", &"x".repeat(65)] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
        assert!("truck-7.eu:1_a".parse::<DeviceId>().is_ok());
        assert!(
            "ten_zzzzzzzzzzzzzzzzzzzzzzzzzz"
                .parse::<TenantId>()
                .is_err()
        );
        assert!(
            "dst_00000000000000000000000000"
                .parse::<TenantId>()
                .is_err()
        );
    }
}
