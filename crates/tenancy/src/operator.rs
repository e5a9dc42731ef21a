//! The right to act for the platform itself, as a value.

use crate::authenticator::Authenticated;
use crate::control::RoleAuthority;
use crate::{Grant, Principal, TenantId, TenantScope};

/// That a request came over the operator's local socket, whose file permissions are its
/// authentication. Composition makes one and hands it to the role that serves that socket; the
/// role uses it only for requests whose peer is marked as local.
#[derive(Debug, Clone, Copy)]
pub struct LocalSocket(());

impl LocalSocket {
    /// For composition, which binds the socket with the operator's permissions alone.
    pub fn bound_for_operator() -> Self {
        LocalSocket(())
    }
}

/// The right to manage tenants, and to act for any of them.
#[derive(Debug, Clone)]
pub struct OperatorScope(());

impl OperatorScope {
    pub fn local(_proof: &LocalSocket) -> Self {
        OperatorScope(())
    }

    /// Of a key that carries [`Grant::Operator`], and of anyone where authentication is off;
    /// nothing else has it.
    pub fn of(caller: &Authenticated) -> Option<Self> {
        caller
            .scope
            .may(Grant::Operator)
            .then_some(OperatorScope(()))
    }

    /// Of a role at the platform's own work: its tenant is made at the first start.
    pub fn of_role(_authority: &RoleAuthority) -> Self {
        OperatorScope(())
    }

    /// The operator at work for one tenant.
    pub fn scope(&self, tenant: TenantId) -> TenantScope {
        TenantScope::new(tenant, Principal::Operator)
    }
}
