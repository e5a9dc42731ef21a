//! Who sees and writes which subjects, and what a query asks for.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use laneway_store::SchemaStore;
use laneway_tenancy::Grant;

use super::error::{RegistryApiError, RegistryResult};
use crate::Control;
use crate::caller::{App, Caller};

/// What the caller may see.
pub(super) fn visible(control: &Control, caller: &Caller) -> SchemaStore {
    match (caller.operator(), caller) {
        (None, Caller::Tenant(caller)) => control.deps.store.tenant_schemas(&caller.scope),
        _ => control.deps.store.schemas(),
    }
}

/// The registry as the caller may write this subject.
pub(super) fn writable(
    control: &Control,
    caller: &Caller,
    subject: &str,
) -> RegistryResult<SchemaStore> {
    if caller.operator().is_some() {
        return Ok(control.deps.store.schemas());
    }
    if let Caller::Tenant(tenant) = caller
        && is_own(caller, subject)
        && tenant.scope.may(Grant::TenantWrite)
    {
        return Ok(control.deps.store.tenant_schemas(&tenant.scope));
    }
    Err(RegistryApiError::forbidden(
        "A tenant writes subjects that begin with its slug and a dot, with a key that has the grant tenant:write.",
    ))
}

/// Whether a subject begins with the caller's own prefix.
pub(super) fn is_own(caller: &Caller, subject: &str) -> bool {
    let Caller::Tenant(caller) = caller else {
        return false;
    };
    subject
        .strip_prefix(caller.tenant.slug.as_str())
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The query's flags; clients send others, which mean nothing here.
pub(crate) struct Flags(String);

impl Flags {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0
            .split('&')
            .filter_map(|flag| flag.split_once('='))
            .any(|(found, value)| found == name && value.eq_ignore_ascii_case("true"))
    }
}

impl FromRequestParts<App> for Flags {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Flags(parts.uri.query().unwrap_or_default().to_owned()))
    }
}
