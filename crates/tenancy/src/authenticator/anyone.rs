//! Who asks where authentication is off: anyone, in the one namespace that there is then.

use super::verify::{Found, Proof, Verified};
use super::{Authenticated, Authenticator, Away};
use crate::Principal;
use crate::control::TenantKind;

impl Authenticator {
    pub(super) async fn find_anyone(&self, slug: &str) -> Result<Found, Away> {
        let stored = self
            .source
            .shared_namespace(slug)
            .await
            .map_err(Away::Source)?
            // Never a customer, whatever it is called.
            .filter(|stored| stored.tenant.body.kind == TenantKind::Default)
            .ok_or(Away::Namespace)?;
        let authenticated = Authenticated::new(
            self.cached.share(stored.tenant),
            Principal::Anyone,
            stored.control_version,
            i64::MAX,
        );
        Ok(Found::Valid(Box::new(Verified {
            authenticated,
            proof: Proof {
                secret: None,
                password_hash: None,
            },
            last_used_at: None,
        })))
    }
}
