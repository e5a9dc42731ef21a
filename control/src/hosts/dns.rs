//! Names, asked of the configured server anew each time: a tenant that has just published its
//! record is not told what was so before.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::settings::HostProofSettings;

pub(super) struct Names(TokioResolver);

impl Names {
    pub(super) fn new(settings: &HostProofSettings) -> Result<Self, String> {
        let unusable = |reason: String| {
            tracing::error!(reason, "no names can be resolved; set hosts.proof.resolver");
            "names cannot be resolved here at the moment".to_owned()
        };
        let mut builder = if settings.resolver.is_empty() {
            TokioResolver::builder_tokio().map_err(|e| unusable(e.to_string()))?
        } else {
            let server = settings.resolver.parse().map_err(|_| {
                unusable(format!("{:?} is no address with a port", settings.resolver))
            })?;
            TokioResolver::builder_with_config(only(server), TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        // The machine's own names are nobody's proof.
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        let resolver = builder.build().map_err(|e| unusable(e.to_string()))?;
        Ok(Names(resolver))
    }

    /// Whether one of the TXT records of `name` is the token.
    pub(super) async fn proves(&self, name: &str, token: &str) -> Result<(), String> {
        let found = self
            .0
            .txt_lookup(format!("{name}."))
            .await
            .map_err(|e| missing(&format!("the TXT record {name}"), &e))?;
        let mut texts = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(text) => Some(text.txt_data.concat()),
                _ => None,
            });
        if texts.any(|text| text.trim_ascii() == token.as_bytes()) {
            Ok(())
        } else {
            Err(format!(
                "the TXT record {name} is another one than the token"
            ))
        }
    }

    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = self
            .0
            .lookup_ip(format!("{host}."))
            .await
            .map_err(|e| missing(&format!("the address of {host}"), &e))?;
        Ok(found.iter().collect())
    }
}

fn missing(what: &str, error: &NetError) -> String {
    if error.is_no_records_found() {
        format!("{what} is not there")
    } else {
        format!("{what} cannot be looked up: {error}")
    }
}

fn only(server: SocketAddr) -> ResolverConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![
        at_port(ConnectionConfig::udp()),
        at_port(ConnectionConfig::tcp()),
    ];
    let server = NameServerConfig::new(server.ip(), true, connections);
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}
