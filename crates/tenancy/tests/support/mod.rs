//! An authenticator whose credentials are in memory.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use laneway_tenancy::control::TenantBody;
use laneway_tenancy::{
    AuthSettings, Authenticator, CredentialId, CredentialSource, DeviceId, Placement, SourceError,
    StoredCredential, StoredPrincipal, SystemRandom, TenantId, TenantInfo, Token, TokenHasher,
    TokenKind, Validity,
};

const HASH_KEY: [u8; 32] = [7; 32];

#[derive(Default)]
struct Tokens(HashMap<[u8; 32], StoredCredential>);

impl CredentialSource for Tokens {
    fn by_token(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<StoredCredential>, SourceError>> {
        let found = self.0.get(&hash).cloned();
        Box::pin(async move { Ok(found) })
    }
}

/// One that knows so many devices, each with a token: the values of their `Authorization` headers.
pub fn devices(count: u32) -> (Authenticator, Vec<Vec<u8>>) {
    let hasher = TokenHasher::new(&HASH_KEY);
    let tenant = TenantId::from_u128(1);
    let info = TenantInfo {
        id: tenant,
        slug: "acme".to_owned(),
        body: TenantBody::plain("acme", Placement::first(tenant, 1, 4)),
    };
    let (mut tokens, mut headers) = (Tokens::default(), Vec::new());
    for number in 0..count {
        let token = Token::generate(TokenKind::Device, &SystemRandom);
        let device: DeviceId = format!("truck-{number}").parse().expect("an id");
        let stored = StoredCredential {
            tenant: info.clone(),
            control_version: 1,
            principal: StoredPrincipal::Device {
                device,
                credential: CredentialId::from_u128(u128::from(number)),
                disabled: false,
            },
            valid: Validity::default(),
            last_used_at: Some(0),
        };
        let hash = hasher.hash(token.reveal().as_bytes());
        tokens.0.insert(hash, stored);
        headers.push(format!("Bearer {}", token.reveal()).into_bytes());
    }
    let settings = AuthSettings::new(HASH_KEY);
    let authenticator = Authenticator::new(Arc::new(tokens), settings, Arc::new(|| 1));
    (authenticator, headers)
}
