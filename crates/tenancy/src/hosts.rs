//! Which tenant a host or a path names.
//!
//! A name claims; it proves nothing. Who a request acts for follows from its credentials alone,
//! and a claim that they do not bear out is refused ([`crate::Authenticated::agree`]).
//!
//! In this order, a host is: the site's own domain, what is below it, or a development host,
//! which claim nothing; a host that a tenant registered; the longest registered wildcard that it
//! falls under; `foo.<tenant domain>`, the tenant with the slug foo; else as
//! [`HostSettings::unregistered`] has it.

mod former;
mod look_alike;
mod name;
mod pattern;
mod settings;
mod shards;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::TenantId;
use crate::control::FormerSlug;
use crate::slug::is_slug;

use former::FormerSlugs;
pub use former::Renamed;
use name::HostName;
pub use pattern::{HostError, HostPattern};
pub use settings::{HostMode, HostSettings, Unregistered};
use shards::Shards;

/// What the names of a request say of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: a host of the platform, and no tenant in the path.
    Nothing,
    Tenant(TenantId),
    /// A tenant that there is not.
    Unknown,
    /// Host and path name different ones.
    Contradiction,
}

impl Claim {
    /// What both say together.
    pub fn and(self, other: Claim) -> Claim {
        match (self, other) {
            (Claim::Nothing, claim) | (claim, Claim::Nothing) => claim,
            (Claim::Unknown, Claim::Unknown) => Claim::Unknown,
            (Claim::Tenant(a), Claim::Tenant(b)) if a == b => self,
            _ => Claim::Contradiction,
        }
    }

    /// Whether credentials of this tenant bear it out.
    pub fn allows(self, tenant: TenantId) -> bool {
        match self {
            Claim::Nothing => true,
            Claim::Tenant(named) => named == tenant,
            Claim::Unknown | Claim::Contradiction => false,
        }
    }
}

/// The names of all tenants: their slugs and their hosts that are live. Looking one up neither
/// waits nor allocates.
#[derive(Debug)]
pub struct Hosts {
    settings: HostSettings,
    exact: Shards,
    /// By what comes after `*.`.
    wildcards: Shards,
    slugs: Shards,
    former: FormerSlugs,
    /// Labels of the longest wildcard that there ever was: names have up to 127.
    deepest: AtomicUsize,
}

impl Default for Hosts {
    fn default() -> Self {
        Hosts::new(HostSettings::default())
    }
}

impl Hosts {
    pub fn new(settings: HostSettings) -> Self {
        Hosts {
            settings: settings.canonical(),
            exact: Shards::new(),
            wildcards: Shards::new(),
            slugs: Shards::new(),
            former: FormerSlugs::default(),
            deepest: AtomicUsize::new(0),
        }
    }

    /// The claim of a request's `Host` header, or of the authority of its target; `None` where
    /// it has neither.
    pub fn of_host(&self, authority: Option<&[u8]>) -> Claim {
        if self.settings.mode == HostMode::Fixed {
            return Claim::Nothing;
        }
        let Some(name) = authority.and_then(HostName::of_authority) else {
            return if self.settings.names_hosts() {
                Claim::Unknown
            } else {
                Claim::Nothing
            };
        };
        self.resolve(name.as_str())
    }

    /// The slug of the namespace that all tenants share.
    pub fn default_namespace(&self) -> &str {
        &self.settings.default_namespace
    }

    /// The claim of a path that begins with `/t/{slug}`.
    pub fn of_slug(&self, slug: &str) -> Claim {
        let known = is_slug(slug).then(|| self.slugs.get(slug)).flatten();
        known.map_or(Claim::Unknown, Claim::Tenant)
    }

    /// Where a slug that nobody has leads, as long as it is kept for who had it.
    pub fn of_former_slug(&self, slug: &str, now: i64) -> Option<Renamed> {
        is_slug(slug).then(|| self.former.get(slug, now)).flatten()
    }

    /// The same of a host below the tenant domain, with the host that it leads to.
    pub fn of_former_host(&self, authority: Option<&[u8]>, now: i64) -> Option<(Renamed, String)> {
        let name = authority.and_then(HostName::of_authority)?;
        let domain = &self.settings.tenant_domain;
        let renamed = self.of_former_slug(below(name.as_str(), domain)?, now)?;
        let host = format!("{}.{domain}", renamed.slug);
        Some((renamed, host))
    }

    /// Whether a name is the platform's own, or is given by it: nobody may register it.
    pub fn is_reserved(&self, host: &HostPattern) -> bool {
        let below = |domain: &str| {
            !domain.is_empty()
                && (host.base() == domain
                    || below(host.base(), domain).is_some()
                    // A wildcard above a domain takes the domain in.
                    || (host.is_wildcard() && below(domain, host.base()).is_some()))
        };
        below(&self.settings.site_domain)
            || below(&self.settings.tenant_domain)
            || self
                .settings
                .development_hosts
                .iter()
                .any(|host| below(host.trim_start_matches("*.")))
    }

    /// A tenant's host is live from now on.
    pub fn set_host(&self, host: &HostPattern, tenant: TenantId) {
        if host.is_wildcard() {
            self.deepest
                .fetch_max(labels(host.base()), Ordering::Relaxed);
            self.wildcards.set(host.base(), tenant);
        } else {
            self.exact.set(host.base(), tenant);
        }
    }

    /// A tenant's host is live no more; one that another tenant has by now stays.
    pub fn remove_host(&self, host: &HostPattern, tenant: TenantId) {
        if host.is_wildcard() {
            self.wildcards.remove(host.base(), tenant);
        } else {
            self.exact.remove(host.base(), tenant);
        }
    }

    /// A tenant is closed: it has no hosts any more.
    pub fn remove_hosts(&self, tenant: TenantId) {
        self.exact.remove_all(tenant);
        self.wildcards.remove_all(tenant);
    }

    /// What the tenant was called until lately, and is now.
    pub fn set_former(&self, tenant: TenantId, slug: &str, former: &[FormerSlug]) {
        self.former.set(tenant, slug, former);
    }

    pub fn set_slug(&self, slug: &str, tenant: TenantId) {
        self.slugs.set(slug, tenant);
    }

    /// The slug names the tenant no more; one that another tenant has by now stays.
    pub fn remove_slug(&self, slug: &str, tenant: TenantId) {
        self.slugs.remove(slug, tenant);
    }

    fn resolve(&self, name: &str) -> Claim {
        if self.settings.is_platform(name) {
            return Claim::Nothing;
        }
        if let Some(tenant) = self.exact.get(name).or_else(|| self.wildcard(name)) {
            return Claim::Tenant(tenant);
        }
        if let Some(slug) = below(name, &self.settings.tenant_domain) {
            return self.of_slug(slug);
        }
        match self.settings.unregistered {
            _ if !self.settings.names_hosts() => Claim::Nothing,
            Unregistered::Refuse => Claim::Unknown,
            Unregistered::Subdomain => self.subdomain(name),
        }
    }

    /// The longest wildcard first.
    fn wildcard(&self, name: &str) -> Option<TenantId> {
        let deepest = self.deepest.load(Ordering::Relaxed);
        if deepest == 0 {
            return None;
        }
        // One more than a wildcard has: `*` stands for at least one.
        let mut rest = last_labels(name, deepest + 1);
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(tenant) = self.wildcards.get(parent) {
                return Some(tenant);
            }
            rest = parent;
        }
        None
    }

    /// `staging.myapp.com` names staging; a name that is registered as it is names nobody.
    fn subdomain(&self, name: &str) -> Claim {
        match psl::domain_str(name).and_then(|apex| below(name, apex)) {
            Some(slug) => self.of_slug(slug),
            None => Claim::Nothing,
        }
    }
}

/// What stands before `.domain`; none for an empty domain.
fn below<'n>(name: &'n str, domain: &str) -> Option<&'n str> {
    if domain.is_empty() {
        return None;
    }
    name.strip_suffix(domain)?.strip_suffix('.')
}

/// The end of a name, of so many labels at most.
fn last_labels(name: &str, most: usize) -> &str {
    let dots = name.bytes().enumerate().rev().filter(|(_, b)| *b == b'.');
    let before = dots.map(|(at, _)| at).nth(most.saturating_sub(1));
    before.map_or(name, |dot| &name[dot + 1..])
}

fn labels(name: &str) -> usize {
    name.bytes().filter(|b| *b == b'.').count() + 1
}

#[cfg(test)]
mod tests;
