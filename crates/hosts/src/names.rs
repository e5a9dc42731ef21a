//! What a request names, told once for all roles before any of them sees it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use hyper::body::Incoming;
use laneway_directory::Directory;
use laneway_runtime::http::{Body, Peer, Service};
use laneway_runtime::{Clock, Problem};
use laneway_tenancy::{Claim, Hosts};

use crate::moved::{Moved, moved};

use crate::cors::CrossOrigin;

/// Headers that name a tenant or a host elsewhere. From outside they mean nothing: they are taken
/// out, so that nothing behind can believe them.
const NEVER_BELIEVED: [HeaderName; 5] = [
    HeaderName::from_static("x-laneway-tenant"),
    HeaderName::from_static("x-laneway-namespace"),
    HeaderName::from_static("x-tenant-id"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-original-host"),
];

/// What a path begins with that names a tenant.
pub(crate) const BY_PATH: &str = "/t/";

/// An extension of requests whose host or path claims anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub claim: Claim,
    /// The host and the slug as they were sent, for the trail.
    pub name: Arc<str>,
    /// Where they lead, when they are those that a renamed tenant had.
    pub moved: Option<Moved>,
}

/// Serves what `inner` does, under every name that a tenant may have: `/t/{slug}` is taken off
/// the path, and what host and path claim is added to the request as [`Named`].
///
/// What a page sends from another origin is answered as the tenant's options say.
pub struct Names {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    inner: Arc<dyn Service>,
}

impl Names {
    pub fn new(
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        inner: Arc<dyn Service>,
    ) -> Arc<Self> {
        Arc::new(Names {
            directory,
            clock,
            inner,
        })
    }
}

impl Service for Names {
    fn call(&self, mut request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        if let Err(problem) = name(self.directory.hosts(), &*self.clock, &mut request) {
            return Box::pin(std::future::ready(problem.into_response()));
        }
        let Some(asked) = CrossOrigin::of(&mut request) else {
            return self.inner.call(request, peer);
        };
        if let Some(answer) = asked.preflight(&self.directory, &request) {
            return Box::pin(std::future::ready(answer));
        }
        Box::pin(async move {
            let mut response = self.inner.call(request, peer).await;
            asked.mark(&self.directory, &mut response);
            response
        })
    }
}

fn name<B>(hosts: &Hosts, clock: &dyn Clock, request: &mut Request<B>) -> Result<(), Problem> {
    if request
        .headers()
        .keys()
        .any(|name| NEVER_BELIEVED.contains(name))
    {
        for header in NEVER_BELIEVED {
            request.headers_mut().remove(header);
        }
    }
    let host = authority(request.uri(), request.headers())?;
    let of_host = hosts.of_host(host);
    let of_path = by_path(request.uri()).map_or(Claim::Nothing, |(slug, _)| hosts.of_slug(slug));
    let claim = of_host.and(of_path);
    // Only names that nobody has may be former ones.
    let moved = [of_host, of_path]
        .contains(&Claim::Unknown)
        .then(|| {
            moved(
                hosts,
                clock.now_us(),
                (host, of_host),
                (request.uri(), of_path),
            )
        })
        .flatten();
    let mut name = String::new();
    if of_host != Claim::Nothing {
        name.push_str(&shown(host.unwrap_or_default()));
    }
    if let Some((slug, rest)) = by_path(request.uri()) {
        name.push_str(BY_PATH);
        name.push_str(&shown(slug.as_bytes()));
        let rest = rest.to_owned();
        rewrite(request.uri_mut(), &rest)?;
    }
    if claim != Claim::Nothing {
        let name = name.into();
        request
            .extensions_mut()
            .insert(Named { claim, name, moved });
    }
    Ok(())
}

/// As much of a name as one can have.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(253)]).into_owned()
}

/// The target's own authority, else the `Host` header (RFC 9112, 3.2).
pub(crate) fn authority<'r>(
    uri: &'r Uri,
    headers: &'r HeaderMap,
) -> Result<Option<&'r [u8]>, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::bad_request("The header Host is there twice."));
    }
    let target = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    Ok(target.or(host.map(|value| value.as_bytes())))
}

/// The slug and what comes after it.
pub(crate) fn by_path(uri: &Uri) -> Option<(&str, &str)> {
    let after = uri.path().strip_prefix(BY_PATH)?;
    let end = after.find('/').unwrap_or(after.len());
    Some(after.split_at(end))
}

fn rewrite(uri: &mut Uri, path: &str) -> Result<(), Problem> {
    let mut target = if path.is_empty() { "/" } else { path }.to_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    // A part of what was a target is one.
    let wrong = |_| Problem::bad_request("The path cannot be read.");
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|e| wrong(e.to_string()))?);
    *uri = Uri::from_parts(parts).map_err(|e| wrong(e.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use laneway_tenancy::TenantId;
    use laneway_tenancy::control::FormerSlug;
    use laneway_tenancy::hosts::HostSettings;

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now_us(&self) -> i64 {
            12
        }
    }

    fn hosts() -> Hosts {
        let hosts = Hosts::new(HostSettings {
            site_domain: "laneway.example".to_owned(),
            tenant_domain: "tenants.example".to_owned(),
            ..HostSettings::default()
        });
        hosts.set_slug("acme", TenantId::from_u128(1));
        hosts.set_slug("other", TenantId::from_u128(2));
        let former = |slug: &str, until| FormerSlug {
            slug: slug.to_owned(),
            until,
        };
        let had = [former("before", 13), former("long-ago", 12)];
        hosts.set_former(TenantId::from_u128(1), "acme", &had);
        hosts.set_host(
            &"tracks.acme.example".parse().unwrap(),
            TenantId::from_u128(1),
        );
        hosts
    }

    fn named(target: &str, host: &str) -> (String, Option<Named>) {
        let mut request = Request::builder()
            .uri(target)
            .header("host", host)
            .header("X-Forwarded-Host", "tracks.acme.example")
            .header("x-laneway-tenant", "acme")
            .header("X-Tenant-Id", "acme")
            .body(())
            .unwrap();
        name(&hosts(), &Noon, &mut request).unwrap();
        assert_eq!(request.headers().len(), 1, "what names a tenant is gone");
        let found = request.extensions().get().cloned();
        (request.uri().to_string(), found)
    }

    #[test]
    fn a_platform_host_claims_nothing_and_a_path_is_taken_off() {
        assert_eq!(
            named("/devices", "laneway.example"),
            ("/devices".into(), None)
        );
        for (target, rest) in [
            ("/t/acme/devices?limit=2", "/devices?limit=2"),
            ("/t/acme", "/"),
            ("/t/acme/", "/"),
            ("/t/acme?x=/t/b", "/?x=/t/b"),
            ("/t/acme/t/other/devices", "/t/other/devices"),
            (
                "http://laneway.example/t/acme/x",
                "http://laneway.example/x",
            ),
        ] {
            let (uri, found) = named(target, "laneway.example");
            assert_eq!(uri, rest);
            let found = found.unwrap();
            assert_eq!(found.claim, Claim::Tenant(TenantId::from_u128(1)));
            assert_eq!(&*found.name, "/t/acme");
        }
        for target in ["/t/nobody/x", "/t//x", "/t/Acme/x", "/t/ac%6de/x"] {
            let claim = named(target, "laneway.example").1.unwrap().claim;
            assert_eq!(claim, Claim::Unknown, "{target}");
        }
        for target in ["/t", "/tracks", "/x/t/acme"] {
            assert_eq!(named(target, "laneway.example"), (target.to_owned(), None));
        }
    }

    #[test]
    fn host_and_path_claim_together_and_the_target_goes_before_the_header() {
        let claim = |target: &str, host: &str| named(target, host).1.map(|n| n.claim);
        let acme = Some(Claim::Tenant(TenantId::from_u128(1)));
        assert_eq!(claim("/x", "tracks.acme.example"), acme);
        assert_eq!(claim("/t/acme/x", "tracks.acme.example"), acme);
        for other in ["/t/other/x", "/t/nobody/x"] {
            let both = claim(other, "tracks.acme.example");
            assert_eq!(both, Some(Claim::Contradiction));
        }
        assert_eq!(
            claim("http://tracks.acme.example/x", "laneway.example"),
            acme
        );
        assert_eq!(
            claim("http://laneway.example/x", "tracks.acme.example"),
            None
        );
    }

    #[test]
    fn a_former_name_claims_nothing_that_is_there_and_leads_to_the_present_one() {
        let moved = |target: &str, host: &str| {
            let named = named(target, host).1?;
            let to = named.moved?;
            assert_eq!(to.tenant, TenantId::from_u128(1));
            assert!([Claim::Unknown, Claim::Contradiction].contains(&named.claim));
            Some(to.location.to_string())
        };
        let here = "laneway.example";
        for (target, host, location) in [
            ("/t/before/x?y=/t/z", here, "/t/acme/x?y=/t/z"),
            ("/t/before", here, "/t/acme"),
            (
                "/x?y",
                "before.tenants.example",
                "//acme.tenants.example/x?y",
            ),
            (
                "/t/acme/x",
                "Before.tenants.example:8080",
                "//acme.tenants.example:8080/t/acme/x",
            ),
            (
                "/t/before/x",
                "before.tenants.example",
                "//acme.tenants.example/t/acme/x",
            ),
            ("/t/before/x", "acme.tenants.example", "/t/acme/x"),
        ] {
            assert_eq!(moved(target, host).as_deref(), Some(location), "{target}");
        }
        for (target, host) in [
            ("/t/long-ago/x", here),
            ("/t/nobody/x", here),
            ("/x", "long-ago.tenants.example"),
            ("/t/before/x", "other.tenants.example"),
            ("/t/other/x", "before.tenants.example"),
            ("/t/nobody/x", "before.tenants.example"),
            ("/t/acme/x", here),
        ] {
            assert_eq!(moved(target, host), None, "{target} at {host}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let mut request = Request::builder()
            .header("host", "laneway.example")
            .header("host", "tracks.acme.example")
            .body(())
            .unwrap();
        let refused = name(&hosts(), &Noon, &mut request).unwrap_err();
        assert_eq!(refused.status, 400);
    }
}
