//! docker-compose.yml and deploy/haproxy.cfg against the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compose() -> Value {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// `${NAME:-default}` as its default.
fn interpolated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (variable, after) = rest.split_once('}').unwrap();
    let (_, default) = variable
        .split_once(":-")
        .expect("a variable without a default");
    format!("{before}{default}{}", interpolated(after))
}

const ROLES: [(&str, Role); 4] = [
    ("ingest", Role::Ingest),
    ("processor", Role::Processor),
    ("sink", Role::Sink),
    ("control", Role::Control),
];

/// The role's configuration; keys that are made at the first start are put in `folder`.
fn configured(service: &Value, folder: &Path) -> Result<Config, String> {
    let environment = service["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let value = interpolated(value.as_str().expect("quote the values"));
            match value.strip_prefix("/run/laneway/") {
                Some(file) => {
                    let path = folder.join(file);
                    std::fs::write(&path, "5a".repeat(32)).unwrap();
                    (name.clone(), path.display().to_string())
                }
                None => (name.clone(), value),
            }
        });
    Config::from_layers(None, environment).map_err(|problems| problems.to_string())
}

fn port(url: &str) -> u16 {
    let authority = url.split("://").last().unwrap().split('/').next().unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn every_role_of_the_compose_file_has_a_valid_configuration() {
    let compose = compose();
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in ROLES {
        let service = &compose["services"][name];
        assert_eq!(
            service["command"],
            serde_json::json!([name]),
            "{name} runs another command"
        );
        let config = configured(service, folder.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.log.backend, laneway_log::Backend::Kafka);
        assert!(!config.store_is_embedded() && !config.registry.url.is_empty());
        assert_eq!(config.auth.hash_key.reveal().len(), 64);
        assert!(
            service["ports"].is_null(),
            "{name} is reached past the gateway"
        );
        let subnet = compose["networks"]["default"]["ipam"]["config"][0]["subnet"]
            .as_str()
            .unwrap();
        assert_eq!(config.http.trusted_proxies, [subnet.parse().unwrap()]);
    }
    let mut mistaken = compose["services"]["ingest"].clone();
    mistaken["environment"]["LANEWAY_LOG_BAKEND"] = "kafka".into();
    let said = configured(&mistaken, folder.path()).unwrap_err();
    assert!(said.contains("did you mean LANEWAY_LOG_BACKEND"), "{said}");
}

#[test]
fn what_the_roles_connect_to_is_where_it_listens() {
    let compose = compose();
    let services = &compose["services"];
    let folder = tempfile::tempdir().unwrap();
    let config = configured(&services["ingest"], folder.path()).unwrap();

    let listeners = services["kafka"]["environment"]["KAFKA_LISTENERS"]
        .as_str()
        .unwrap();
    let (host, kafka_port) = config.log.kafka.bootstrap.split_once(':').unwrap();
    assert_eq!(host, "kafka");
    assert!(
        listeners.contains(&format!("://:{kafka_port}")),
        "{listeners}"
    );
    let advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        .as_str()
        .unwrap();
    assert!(
        advertised.contains(&config.log.kafka.bootstrap),
        "{advertised}"
    );

    let url = config.store.url.reveal();
    assert!(
        url.starts_with("postgres://laneway:") && url.ends_with("@postgres:5432/laneway"),
        "{url}"
    );
    let init = std::fs::read_to_string(root().join("deploy/postgres.sh")).unwrap();
    assert!(init.contains("CREATE DATABASE laneway OWNER laneway"));

    assert!(
        services["registry"].is_object()
            && config.registry.url.starts_with("http://registry:8080/")
    );
    let check = services["registry"]["healthcheck"]["test"][3]
        .as_str()
        .unwrap();
    let path = |url: &str| url.splitn(4, '/').nth(3).unwrap().to_owned();
    assert!(
        path(check).starts_with(&path(&config.registry.url)),
        "{check}"
    );
    let volumes = services["gateway"]["volumes"][0].as_str().unwrap();
    assert!(root().join(volumes.split(':').next().unwrap()).is_file());
}

/// Words of a line, by section: `backend sink` → lines.
fn haproxy() -> BTreeMap<String, Vec<Vec<String>>> {
    let text = std::fs::read_to_string(root().join("deploy/haproxy.cfg")).unwrap();
    let mut sections: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut section = String::new();
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))
    {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if line.starts_with(' ') {
            sections.get_mut(&section).unwrap().push(words);
        } else {
            section = words.join(" ");
            sections.entry(section.clone()).or_default();
        }
    }
    sections
}

fn seconds(text: &str) -> u64 {
    let (number, scale) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap(), 1),
    };
    number.parse::<u64>().unwrap() * scale
}

#[test]
fn the_gateway_sends_every_path_to_the_port_of_its_role() {
    let haproxy = haproxy();
    let folder = tempfile::tempdir().unwrap();
    let compose = compose();
    for (name, role) in ROLES
        .into_iter()
        .filter(|(_, role)| *role != Role::Processor)
    {
        let config = configured(&compose["services"][name], folder.path()).unwrap();
        let backend = &haproxy[&format!("backend {name}")];
        let server = backend
            .iter()
            .find(|words| words[0] == "server-template")
            .unwrap();
        let (host, _) = server[3].split_once(':').unwrap();
        assert_eq!(
            (host, port(&server[3])),
            (name, config.listener(role).address.port())
        );
        assert!(
            backend.contains(
                &["option", "httpchk", "GET", "/health/ready"]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
    }
    let frontend: Vec<String> = haproxy["frontend gateway"]
        .iter()
        .map(|words| words.join(" "))
        .collect();
    for expected in [
        "use_backend ingest if { path_reg ^(/t/[^/]+)?/location(/|$) }",
        "use_backend sink if { path_reg ^(/t/[^/]+)?/stream(/|$) }",
        "default_backend control",
        "bind :8080",
    ] {
        assert!(frontend.iter().any(|line| line == expected), "{expected}");
    }
    assert_eq!(compose["services"]["gateway"]["ports"][0], "8080:8080");
}

#[test]
fn the_gateways_timeouts_fit_those_of_the_roles() {
    let haproxy = haproxy();
    let config = Config::from_layers(None, std::iter::empty()).unwrap();
    let timeout = |section: &str, name: &str| {
        let line = haproxy[section]
            .iter()
            .find(|words| words[0] == "timeout" && words[1] == name)
            .unwrap();
        seconds(&line[2])
    };
    let ping = config.sink.stream.ping_seconds;
    assert!(
        timeout("backend sink", "tunnel") >= 3 * ping,
        "websockets would be cut off between pings"
    );
    assert!(
        timeout("backend sink", "server") >= 3 * ping,
        "event streams would be cut off"
    );
    assert!(timeout("defaults", "http-keep-alive") < config.http.idle_timeout_seconds);
    let body = config.ingest.body_timeout_ms / 1000;
    assert!(timeout("defaults", "client") > body && timeout("defaults", "server") > body);
}
