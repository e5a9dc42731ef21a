//! The position token: `v1.` and base64url of the lanes and a tag.
//!
//! The tag is HMAC-SHA-256 over the tenant and the positions, cut to 128 bits (RFC 2104 section
//! 5): a token is good for its own tenant alone, and is looked at only after authentication. That
//! of a partner is good for this partner at this tenant.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use laneway_tenancy::{Principal, TenantScope};

use super::LanePosition;

const PREFIX: &str = "v1.";
const CONTEXT: &[u8] = b"laneway position token v1\0";
const OF_PARTNER: &[u8] = b"laneway position token of a partner v1\0";
const TAG: usize = 16;
/// More lanes than any placement has.
const MAX_LANES: usize = 4096;
const MIN_KEY: usize = 32;

/// Said of every token that cannot be used: one of another tenant looks like any other
/// string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the position token is not valid for this tenant; take one that the stream sent, or start from live or earliest"
)]
pub struct TokenError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "sink.token_key has {0} bytes, but must have at least 32; generate one with `openssl rand -base64 48`, the same for every sink"
)]
pub struct KeyError(usize);

/// Makes and checks tokens. Every sink of a deployment has the same.
pub struct TokenKey(hmac::Key);

impl TokenKey {
    pub fn new(key: &str) -> Result<Self, KeyError> {
        if key.len() < MIN_KEY {
            return Err(KeyError(key.len()));
        }
        Ok(TokenKey(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    }

    pub fn seal(&self, scope: &TenantScope, positions: &[LanePosition]) -> String {
        let mut body = Vec::with_capacity(positions.len() * 8 + TAG);
        for position in positions {
            put(&mut body, u64::from(position.generation));
            put(&mut body, u64::from(position.lane));
            put(&mut body, position.next);
        }
        let tag = hmac::sign(&self.0, &message(scope, &body));
        body.extend_from_slice(&tag.as_ref()[..TAG]);
        let mut token = String::with_capacity(PREFIX.len() + body.len() * 4 / 3 + 4);
        token.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&body, &mut token);
        token
    }

    pub fn open(&self, scope: &TenantScope, token: &str) -> Result<Vec<LanePosition>, TokenError> {
        let body = token.strip_prefix(PREFIX).ok_or(TokenError)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError)?;
        let (mut rest, tag) = body.split_last_chunk::<TAG>().ok_or(TokenError)?;
        let expected = hmac::sign(&self.0, &message(scope, rest));
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG], tag)
            .map_err(|_| TokenError)?;
        let mut positions = Vec::new();
        while !rest.is_empty() && positions.len() < MAX_LANES {
            let mut number = || take(&mut rest).ok_or(TokenError);
            let (generation, lane, next) = (number()?, number()?, number()?);
            positions.push(LanePosition {
                generation: u32::try_from(generation).map_err(|_| TokenError)?,
                lane: u32::try_from(lane).map_err(|_| TokenError)?,
                next,
            });
        }
        Ok(positions)
    }
}

fn message(scope: &TenantScope, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(CONTEXT.len() + 16 + body.len());
    if let Principal::Partner { tenant, .. } = scope.principal() {
        message.extend_from_slice(OF_PARTNER);
        message.extend_from_slice(&tenant.as_u128().to_be_bytes());
    } else {
        message.extend_from_slice(CONTEXT);
    }
    message.extend_from_slice(&scope.tenant().as_u128().to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// LEB128.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use laneway_tenancy::TenantId;
    use laneway_tenancy::control::RoleAuthority;

    use super::*;

    const KEY: &str = "an unguessable key of more than 32 bytes";

    fn scope(tenant: u128) -> TenantScope {
        RoleAuthority::for_role("test").scope(TenantId::from_u128(tenant))
    }

    proptest::proptest! {
        #[test]
        fn a_token_gives_back_its_positions_to_its_tenant_alone(
            tenant: u128,
            other: u128,
            lanes in proptest::collection::vec((0u32.., 0u32.., 0u64..), 0..8),
        ) {
            let positions: Vec<LanePosition> = lanes
                .into_iter()
                .map(|(generation, lane, next)| LanePosition { generation, lane, next })
                .collect();
            let key = TokenKey::new(KEY).unwrap();
            let token = key.seal(&scope(tenant), &positions);
            proptest::prop_assert_eq!(key.open(&scope(tenant), &token), Ok(positions));
            if tenant != other {
                proptest::prop_assert_eq!(key.open(&scope(other), &token), Err(TokenError));
            }
        }

        #[test]
        fn what_is_no_token_is_refused(text in ".{0,60}", flip in 0usize..20) {
            let key = TokenKey::new(KEY).unwrap();
            proptest::prop_assert_eq!(key.open(&scope(1), &text), Err(TokenError));
            let position = LanePosition { generation: 1, lane: 3, next: 42 };
            let mut token = key.seal(&scope(1), &[position]).into_bytes();
            let at = PREFIX.len() + flip % (token.len() - PREFIX.len() - 1);
            token[at] = if token[at] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(token).unwrap();
            proptest::prop_assert_eq!(key.open(&scope(1), &token), Err(TokenError));
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(TokenKey::new("short").is_err());
    }
}
