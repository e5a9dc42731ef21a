//! What has to hold where authentication is off, and whoever reaches a listener may do everything.

use laneway_log::Backend;
use laneway_tenancy::hosts::HostSettings;

use super::{AuthMode, Config};
use crate::roles::Role;

impl Config {
    /// Whether authentication is off.
    pub fn is_unguarded(&self) -> bool {
        self.auth.mode == AuthMode::None
    }

    /// How the role understands the hosts of requests.
    pub fn host_settings(&self, role: Role) -> HostSettings {
        let settings = self.hosts.settings();
        if self.is_unguarded() {
            settings.known_only(self.listener(role).address.ip())
        } else {
            settings
        }
    }

    /// What is wrong with the listener of a role: other machines reach it, though authentication
    /// is off.
    pub fn exposed(&self, role: Role) -> Option<String> {
        let key = match role {
            Role::All => "http.listen",
            Role::Ingest => "http.ingest_listen",
            Role::Sink => "http.sink_listen",
            Role::Control => "http.control_listen",
            // It answers /health alone.
            Role::Processor => return None,
        };
        let address = self.listener(role).address;
        let is_fine = !self.is_unguarded()
            || self.auth.none_beyond_loopback
            || address.ip().to_canonical().is_loopback();
        (!is_fine).then(|| {
            format!(
                "{key} is {address}, which other machines reach, and with auth.mode = none whoever reaches it may do everything: set it to a loopback address such as 127.0.0.1:{}, or, where something else keeps strangers away, auth.none_beyond_loopback = true",
                address.port()
            )
        })
    }

    /// What is wrong with the listeners of all roles that can be started.
    pub fn all_exposed(&self) -> Vec<String> {
        let roles: &[Role] = match self.log.backend {
            Backend::Embedded => &[Role::All],
            Backend::Kafka => &[Role::All, Role::Ingest, Role::Sink, Role::Control],
        };
        roles
            .iter()
            .filter_map(|role| self.exposed(*role))
            .collect()
    }
}
