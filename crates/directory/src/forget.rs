//! What an authenticator has kept, forgotten as control changes come.

use laneway_schemas::ControlKind;
use laneway_tenancy::{Authenticator, ChangeKind};

use crate::{Directory, DirectoryChange};

impl DirectoryChange {
    /// What was kept of the credentials that it is about is forgotten.
    pub fn forget_in(&self, authenticator: &Authenticator) {
        let kind = match self.kind {
            ControlKind::Tenant => ChangeKind::Tenant,
            // Nothing is kept of it, and there may be very many at a time.
            ControlKind::Device if self.registers => return,
            ControlKind::Device => ChangeKind::Device,
            ControlKind::Credential => ChangeKind::Credential,
            ControlKind::Key => ChangeKind::Key,
            ControlKind::Destination
            | ControlKind::Host
            | ControlKind::Grant
            | ControlKind::Other => return,
        };
        authenticator.forget(self.tenant, kind, &self.id);
    }
}

impl Directory {
    /// Where changes were missed, which is not known: every tenant's credentials are read anew.
    pub fn forget_all_in(&self, authenticator: &Authenticator) {
        for tenant in self.tenants() {
            authenticator.forget(tenant.id, ChangeKind::Tenant, &tenant.id.to_string());
        }
    }
}
