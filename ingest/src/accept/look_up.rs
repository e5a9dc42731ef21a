//! What is known of a session.

use laneway_store::Session;
use laneway_tenancy::{Authenticated, DeviceId, Grant, Principal, SessionId};

use super::{Accept, Refused};

impl Accept {
    /// The session as the projection wrote it. `None` alike for one that there is not, one of
    /// another device or tenant, and an id that none can have.
    pub async fn session(
        &self,
        who: &Authenticated,
        session: &str,
        device: Option<String>,
    ) -> Result<Option<Session>, Refused> {
        let own = match who.scope.principal() {
            Principal::Device(own) => Some(own.clone()),
            _ if who.scope.may(Grant::PositionsRead) || who.scope.may(Grant::LocationWrite) => None,
            _ => return Err(Refused::MayNotRead),
        };
        let Ok(session) = session.parse::<SessionId>() else {
            return Ok(None);
        };
        let named = match device.map(|device| device.parse::<DeviceId>()).transpose() {
            Ok(named) => named,
            Err(_) => return Ok(None),
        };
        let device = match (own, named) {
            (Some(own), Some(named)) if own != named => return Ok(None),
            (own, named) => own.or(named),
        };
        self.store
            .sessions(&who.scope)
            .find(device.as_ref(), &session)
            .await
            .map_err(Refused::Store)
    }
}
