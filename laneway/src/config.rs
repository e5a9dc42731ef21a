//! The configuration: `defaults.toml`, a file over it, the environment over that.

mod check;
pub mod env_example;
pub mod keys;
mod layers;
mod shards;
mod unguarded;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_control::{ControlSettings, HostProofSettings};
use laneway_ingest::IngestSettings;
use laneway_log::LogConfig;
use laneway_processor::ProcessorSettings;
use laneway_runtime::http::{Cidr, ListenConfig, TlsConfig};
use laneway_runtime::telemetry::LogFormat;
use laneway_sink::SinkSettings;
use laneway_store::{ShardConfig, ShardRule};
use laneway_tenancy::hosts::{HostMode, HostSettings, Unregistered};
use serde::{Deserialize, Deserializer};

pub use layers::Problems;

use crate::roles::Role;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub instance: String,
    pub data_dir: PathBuf,
    pub drain_seconds: u64,
    pub http: HttpConfig,
    pub hosts: HostsConfig,
    pub ops: OpsConfig,
    pub telemetry: TelemetryConfig,
    pub log: LogConfig,
    pub store: StoreConfig,
    pub auth: AuthConfig,
    pub registry: RegistryConfig,
    pub ingest: IngestSettings,
    pub processor: ProcessorSettings,
    pub sink: SinkSettings,
    pub control: ControlSettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    pub ingest_listen: SocketAddr,
    pub processor_listen: SocketAddr,
    pub sink_listen: SocketAddr,
    pub control_listen: SocketAddr,
    pub trusted_proxies: Vec<Cidr>,
    pub header_timeout_seconds: u64,
    pub idle_timeout_seconds: u64,
    pub max_connections: usize,
    pub tls: TlsFiles,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsConfig {
    pub mode: HostMode,
    pub site_domain: String,
    pub tenant_domain: String,
    pub development_hosts: Vec<String>,
    pub unregistered: Unregistered,
    pub default_namespace: String,
    pub proof: HostProofSettings,
}

impl HostsConfig {
    pub fn settings(&self) -> HostSettings {
        HostSettings {
            mode: self.mode,
            site_domain: self.site_domain.clone(),
            tenant_domain: self.tenant_domain.clone(),
            development_hosts: self.development_hosts.clone(),
            unregistered: self.unregistered,
            default_namespace: self.default_namespace.clone(),
            ..HostSettings::default()
        }
    }
}

/// Empty names are none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    #[serde(deserialize_with = "optional_address")]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    pub log_format: LogFormat,
    pub log_filter: String,
    pub metrics_tenants: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    pub url: Secret,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
    pub slow_query_ms: u64,
    pub secret_key: Secret,
    pub secret_keys_old: Secret,
    pub secret_key_command: String,
    pub secret_key_command_timeout_ms: u64,
    pub shards: ShardsConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardsConfig {
    pub urls: Secret,
    pub rule: ShardRule,
    pub exceptions: Vec<String>,
    pub dedicated: Vec<String>,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Who shows credentials.
    Credentials,
    /// Anybody.
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    pub mode: AuthMode,
    pub none_beyond_loopback: bool,
    pub hash_key: Secret,
    pub cache_entries: usize,
    pub refresh_seconds: u32,
    pub offline_seconds: u32,
    pub negative_seconds: u32,
    pub failures_per_address: u32,
    pub failures_per_device: u32,
    pub password_threads: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    pub url: String,
    pub username: String,
    pub password: Secret,
    pub timeout_ms: u64,
}

/// A text that is not printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() {
            "(empty)"
        } else {
            "(secret)"
        })
    }
}

fn optional_address<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(d)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        serde::de::Error::custom(format!(
            "'{text}' is no address with a port, such as 127.0.0.1:9464"
        ))
    })
}

impl Config {
    /// Reads the file that is named, else `laneway.toml` in the working folder where it exists.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
        let standard = Path::new("laneway.toml");
        let file = file.or_else(|| standard.exists().then_some(standard));
        let text = match file {
            Some(path) => Some((
                path,
                std::fs::read_to_string(path).map_err(|error| {
                    anyhow::anyhow!("reading the configuration file {}: {error}", path.display())
                })?,
            )),
            None => None,
        };
        Ok(Config::from_layers(
            text.as_ref().map(|(path, text)| (*path, text.as_str())),
            std::env::vars(),
        )?)
    }

    pub fn from_layers(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, Problems> {
        let mut layers =
            layers::Layers::new().map_err(|error| Problems(vec![error.to_string()]))?;
        if let Some((path, text)) = file {
            layers.file(path, text);
        }
        layers.environment(environment);
        let config = layers.read::<Config>().map(Config::expand);
        if let Some(config) = &config {
            check::check(config, &mut layers);
        }
        match config {
            Some(config) if layers.problems.0.is_empty() => Ok(config),
            _ => Err(layers.problems),
        }
    }

    /// Puts the data folder where it is mentioned, and the host name where there is no instance.
    fn expand(mut self) -> Self {
        let folder = self.data_dir.to_string_lossy().into_owned();
        let expand = |text: &str| text.replace("{data_dir}", &folder);
        self.store.url.0 = expand(&self.store.url.0);
        self.store.shards.urls.0 = expand(&self.store.shards.urls.0);
        self.log.embedded.path = expand(&self.log.embedded.path.to_string_lossy()).into();
        if self.instance.is_empty() {
            self.instance = rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
        }
        self
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// What the role's listener binds.
    pub fn listener(&self, role: Role) -> ListenConfig {
        let http = &self.http;
        let address = match role {
            Role::All => http.listen,
            Role::Ingest => http.ingest_listen,
            Role::Processor => http.processor_listen,
            Role::Sink => http.sink_listen,
            Role::Control => http.control_listen,
        };
        let tls = (!http.tls.cert_file.as_os_str().is_empty()).then(|| TlsConfig {
            cert_file: http.tls.cert_file.clone(),
            key_file: http.tls.key_file.clone(),
        });
        ListenConfig {
            address,
            tls,
            host_certificates: None,
            trusted_proxies: http.trusted_proxies.clone(),
            header_timeout: Duration::from_secs(http.header_timeout_seconds),
            idle_timeout: Duration::from_secs(http.idle_timeout_seconds),
            max_connections: http.max_connections,
        }
    }

    pub fn store_is_embedded(&self) -> bool {
        database_file(self.store.url.reveal()).is_some()
    }

    /// Where the store is embedded.
    pub fn store_file(&self) -> PathBuf {
        database_file(self.store.url.reveal()).unwrap_or_default()
    }

    /// Where the shards are, by their names. None where not all are embedded.
    pub fn shard_files(&self) -> anyhow::Result<Option<BTreeMap<String, PathBuf>>> {
        let urls = self.shards()?.urls.into_iter();
        let files = urls.map(|(name, url)| Some((name, database_file(&url)?)));
        Ok(files.collect())
    }

    /// The databases beside the store's own.
    pub fn shards(&self) -> anyhow::Result<ShardConfig> {
        self.store
            .shards
            .read(self.store.url.reveal())
            .map_err(|(key, what)| anyhow::anyhow!("store.shards.{key} {what}"))
    }

    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("laneway.sock")
    }
}

/// The file of an embedded database.
fn database_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    path.split('?').next().map(PathBuf::from)
}

#[cfg(test)]
mod deployment_tests;
#[cfg(test)]
mod tests;
