//! Counts requests by their tenant and by what of the API they are about.

use std::sync::Arc;

use laneway_runtime::TenantMetrics;
use laneway_runtime::tenants::TenantCounter;
use laneway_tenancy::TenantInfo;

/// What a route is about: a part of its path, and the label of its counter.
static ENDPOINTS: [[(&str, &str); 1]; 10] = [
    [("endpoint", "operator")],
    [("endpoint", "registry")],
    [("endpoint", "tenants")],
    [("endpoint", "devices")],
    [("endpoint", "credentials")],
    [("endpoint", "position")],
    [("endpoint", "sessions")],
    [("endpoint", "keys")],
    [("endpoint", "provisioning-keys")],
    [("endpoint", "destinations")],
];

pub(crate) struct Requests {
    tenants: Arc<TenantMetrics>,
    /// As [`ENDPOINTS`].
    counters: [TenantCounter; ENDPOINTS.len()],
}

impl Requests {
    pub(crate) fn new(tenants: Arc<TenantMetrics>) -> Self {
        let counter = |labels: &'static [(&str, &str); 1]| {
            tenants.counter(
                "api_requests_total",
                "Requests with valid credentials",
                labels,
            )
        };
        Requests {
            counters: ENDPOINTS.each_ref().map(counter),
            tenants,
        }
    }

    /// A request of someone who is known, to a route such as `/devices/{device}`.
    pub(crate) fn count(&self, tenant: &TenantInfo, route: &str) {
        if let Some(endpoint) = endpoint(route) {
            self.tenants
                .tenant(tenant.id.as_u128(), &tenant.slug)
                .add(self.counters[endpoint], 1);
        }
    }
}

/// The operator's own and the registry's routes belong together, the others to the last thing
/// that they name.
fn endpoint(route: &str) -> Option<usize> {
    let find = |part: &str| ENDPOINTS.iter().position(|[(_, name)]| *name == part);
    let parts = || route.split('/').filter(|part| !part.is_empty());
    match parts().next()? {
        first @ ("operator" | "registry") => find(first),
        _ => parts().rev().find_map(find),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_counted_as_the_last_thing_that_it_names() {
        for (route, expected) in [
            ("/tenants", "tenants"),
            ("/tenants/{tenant}/limits", "tenants"),
            ("/tenants/{tenant}/devices/{device}", "devices"),
            ("/devices/{device}/credentials/{credential}", "credentials"),
            ("/devices/{device}/position", "position"),
            ("/operator/keys", "operator"),
            ("/registry/config/{subject}", "registry"),
        ] {
            let found = endpoint(route).map(|i| ENDPOINTS[i][0].1);
            assert_eq!(found, Some(expected), "{route}");
        }
    }
}
