//! How hosts are understood, as the configuration's `[hosts]` has it.

use std::net::IpAddr;

use serde::Deserialize;

use super::below;
use super::name::HostName;
use crate::slug;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostMode {
    /// A host may name a tenant.
    #[default]
    Resolve,
    /// No host says anything.
    Fixed,
}

/// What the namespace that all share is called where nothing else is said.
const DEFAULT: &str = "default";

/// What a host is that nothing is known of. It only counts once there is a site domain or a
/// tenant domain: without either, hosts that nobody registered claim nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unregistered {
    /// Nobody's: 404.
    #[default]
    Refuse,
    /// `staging.myapp.com` is the tenant with the slug staging; `myapp.com` claims nothing.
    Subdomain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    pub mode: HostMode,
    /// The site's own; with what is below it claims nothing. Empty for none.
    pub site_domain: String,
    /// `foo.<tenant domain>` names the tenant with the slug foo. Empty for none.
    pub tenant_domain: String,
    /// Names, or `*.test` for all below, that claim nothing.
    pub development_hosts: Vec<String>,
    pub unregistered: Unregistered,
    /// Whether hosts that nothing is known of are nobody's, though no domain is set.
    pub known_only: bool,
    /// Naming the namespace that all share claims nothing.
    pub default_namespace: String,
}

impl Default for HostSettings {
    fn default() -> Self {
        let development = ["localhost", "127.0.0.1", "[::1]", "*.localhost", "*.test"];
        HostSettings {
            mode: HostMode::Resolve,
            site_domain: String::new(),
            tenant_domain: String::new(),
            development_hosts: development.map(str::to_owned).to_vec(),
            unregistered: Unregistered::Refuse,
            known_only: false,
            default_namespace: DEFAULT.to_owned(),
        }
    }
}

impl HostSettings {
    /// As they have to be where authentication is off: a page may have its own name lead to this
    /// machine, and what it then asks for looks like the server's own (DNS rebinding). So only
    /// names of this machine and those that are configured are answered.
    pub fn known_only(mut self, listener: IpAddr) -> Self {
        self.mode = HostMode::Resolve;
        self.unregistered = Unregistered::Refuse;
        self.known_only = true;
        let own = match listener {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let machine = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        self.development_hosts.extend(machine);
        self.development_hosts.push(own);
        self
    }

    /// What is wrong, as (the key within its section, what).
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let is_host = |text: &str| canonical(text).is_some();
        for (key, domain) in [
            ("site_domain", &self.site_domain),
            ("tenant_domain", &self.tenant_domain),
        ] {
            if !domain.is_empty() && !is_host(domain) {
                wrong.push((key, format!("is no domain: {domain:?}")));
            }
        }
        let this = self.clone().canonical();
        let inside = this.tenant_domain == this.site_domain
            || below(&this.tenant_domain, &this.site_domain).is_some();
        if !this.tenant_domain.is_empty() && inside {
            let what = "must not be hosts.site_domain or lie below it: what does claims nothing";
            wrong.push(("tenant_domain", what.to_owned()));
        }
        let shared = self.default_namespace.as_str();
        if let Some(error) = slug::check(shared).err().filter(|_| shared != DEFAULT) {
            let what = format!("{shared:?} cannot be a namespace's: {error}");
            wrong.push(("default_namespace", what));
        }
        for host in &self.development_hosts {
            if !is_host(host.trim_start_matches("*.")) {
                wrong.push((
                    "development_hosts",
                    format!("holds what is no host: {host:?}"),
                ));
            }
        }
        wrong
    }

    /// In the form in which names are looked up. What is no host at all matches none.
    pub(super) fn canonical(mut self) -> Self {
        for domain in [&mut self.site_domain, &mut self.tenant_domain] {
            *domain = canonical(domain).unwrap_or_default();
        }
        for host in &mut self.development_hosts {
            let wildcard = host.starts_with("*.");
            let base = canonical(host.trim_start_matches("*.")).unwrap_or_default();
            *host = if wildcard { format!("*.{base}") } else { base };
        }
        self
    }

    /// Whether hosts mean anything that nobody has registered.
    pub(super) fn names_hosts(&self) -> bool {
        self.known_only || !self.site_domain.is_empty() || !self.tenant_domain.is_empty()
    }

    /// Whether a canonical name is the platform's own.
    pub(super) fn is_platform(&self, name: &str) -> bool {
        name == self.tenant_domain
            || name == self.site_domain
            || below(name, &self.site_domain).is_some()
            || self
                .development_hosts
                .iter()
                .any(|host| match host.strip_prefix("*.") {
                    Some(base) => below(name, base).is_some(),
                    None => name == host,
                })
    }
}

fn canonical(text: &str) -> Option<String> {
    HostName::of_authority(text.as_bytes()).map(|name| name.as_str().to_owned())
}
