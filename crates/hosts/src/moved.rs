//! Names that a tenant had before it was renamed, and where they lead.

use std::sync::Arc;

use http::Uri;
use laneway_tenancy::{Claim, Hosts, TenantId};

use crate::names::{BY_PATH, by_path};

/// A tenant under the names that it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub tenant: TenantId,
    /// What was asked for, there.
    pub location: Arc<str>,
}

/// Where the names lead: those that nobody has have to be former ones, and all of one tenant.
pub(crate) fn moved(
    hosts: &Hosts,
    now: i64,
    (host, of_host): (Option<&[u8]>, Claim),
    (uri, of_path): (&Uri, Claim),
) -> Option<Moved> {
    let mut location = String::new();
    let mut of_host = of_host;
    if of_host == Claim::Unknown {
        let (renamed, name) = hosts.of_former_host(host, now)?;
        of_host = Claim::Tenant(renamed.tenant);
        // The scheme stays what it is (RFC 3986, 4.2), and so does the port.
        let port = host?.iter().position(|b| *b == b':');
        let port = port.map_or(&[][..], |at| &host.unwrap_or_default()[at..]);
        location = format!("//{name}{}", String::from_utf8_lossy(port));
    }
    let mut of_path = of_path;
    match by_path(uri) {
        Some((slug, rest)) if of_path == Claim::Unknown => {
            let renamed = hosts.of_former_slug(slug, now)?;
            of_path = Claim::Tenant(renamed.tenant);
            location.push_str(&format!("{BY_PATH}{}{rest}", renamed.slug));
        }
        _ => location.push_str(uri.path()),
    }
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    match of_host.and(of_path) {
        Claim::Tenant(tenant) => Some(Moved {
            tenant,
            location: location.into(),
        }),
        Claim::Nothing | Claim::Unknown | Claim::Contradiction => None,
    }
}
