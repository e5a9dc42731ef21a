use std::os::unix::fs::PermissionsExt;

use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let file = (!file.is_empty()).then_some((Path::new("some.toml"), file));
    Config::from_layers(file, environment).map_err(|problems| problems.to_string())
}

#[test]
fn the_defaults_are_valid_alone() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.http.listen.port(), 8080);
    assert_eq!(config.log.embedded.path, Path::new("data/log"));
    assert_eq!(config.store.url.reveal(), "sqlite:data/laneway.db");
    assert!(!config.instance.is_empty());
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "data_dir = \"/srv/lane\"\n[log]\npartitions = 6\nretention_seconds = 60\n[log.kafka]\nlinger_ms = 2\n";
    let config = load(
        file,
        &[
            ("LANEWAY_LOG_PARTITIONS", "12"),
            ("LANEWAY_HTTP_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ],
    )
    .unwrap();
    assert_eq!(config.log.partitions, 12);
    assert_eq!(config.log.retention_seconds, 60);
    assert!((config.log.kafka.linger_ms - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.log.embedded.path, Path::new("/srv/lane/log"));
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_key_and_where_it_came_from() {
    let file = "instnace = \"a\"\n[log]\npartitions = \"many\"\nbackend = \"kafak\"\n[stroe]\nurl = \"x\"\n[http]\nmax_connections = 0\n";
    let said = load(
        file,
        &[
            ("LANEWAY_LOG_BAKEND", "kafka"),
            ("LANEWAY_OPS_LISTEN", "nowhere"),
            ("LANEWAY_DRAIN_SECONDS", "soon"),
        ],
    )
    .unwrap_err();
    for expected in [
        "instnace (from some.toml) is no known key; did you mean instance?",
        "log.partitions (from some.toml) must be a whole number, not text",
        "log.backend (from some.toml) cannot be taken: unknown variant `kafak`",
        "stroe (from some.toml) is no known key; did you mean store?",
        "LANEWAY_LOG_BAKEND belongs to no known key; did you mean LANEWAY_LOG_BACKEND?",
        "ops.listen (from the environment variable LANEWAY_OPS_LISTEN) cannot be taken: 'nowhere'",
        "drain_seconds (from the environment variable LANEWAY_DRAIN_SECONDS) must be a whole number",
    ] {
        assert!(said.contains(expected), "'{expected}' is not in:\n{said}");
    }
    let said = load(
        "[http]\nmax_connections = 0\n[http.tls]\ncert_file = \"c.pem\"\n",
        &[],
    )
    .unwrap_err();
    assert!(
        said.contains("http.max_connections (from some.toml) must be at least 1"),
        "{said}"
    );
    assert!(
        said.contains("http.tls.key_file (from the defaults) is missing"),
        "{said}"
    );
}

#[test]
fn postgres_needs_its_secrets_and_no_secret_is_ever_printed() {
    let url = ("LANEWAY_STORE_URL", "postgres://laneway:hunter2@db/laneway");
    let said = load("", &[url]).unwrap_err();
    assert!(
        said.contains("auth.hash_key") && said.contains("store.secret_key"),
        "{said}"
    );
    assert!(!said.contains("hunter2"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{}\n", "ab".repeat(32))).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let secret = "cd".repeat(32);
    let config = load(
        "",
        &[
            url,
            ("LANEWAY_AUTH_HASH_KEY_FILE", file),
            ("LANEWAY_STORE_SECRET_KEY", &secret),
        ],
    )
    .unwrap();
    assert_eq!(config.auth.hash_key.reveal(), "ab".repeat(32));
    let printed = format!("{config:?}");
    assert!(
        !printed.contains("hunter2") && !printed.contains("abab") && !printed.contains("cdcd"),
        "{printed}"
    );

    let both = load(
        "",
        &[
            ("LANEWAY_AUTH_HASH_KEY_FILE", file),
            ("LANEWAY_AUTH_HASH_KEY", &secret),
        ],
    )
    .unwrap_err();
    assert!(both.contains("are both set"), "{both}");
    let gone = load("", &[("LANEWAY_AUTH_HASH_KEY_FILE", "/nowhere/key")]).unwrap_err();
    assert!(gone.contains("auth.hash_key_file"), "{gone}");
}

#[test]
fn hosts_that_cannot_work_are_said_to() {
    let file = "[hosts]\nsite_domain = \"lane.example\"\ntenant_domain = \"t.lane.example\"\ndevelopment_hosts = [\"a b\"]\n[hosts.proof]\nresolver = \"dns\"\n";
    let said = load(file, &[]).unwrap_err();
    for expected in [
        "hosts.tenant_domain (from some.toml) must not be hosts.site_domain or lie below it",
        "hosts.development_hosts (from some.toml) holds what is no host",
        "hosts.proof.resolver (from some.toml) must be an address with a port",
    ] {
        assert!(said.contains(expected), "'{expected}' is not in:\n{said}");
    }
    let good = "[hosts]\nunregistered = \"subdomain\"\nmode = \"fixed\"\n[hosts.proof]\nresolver = \"[::1]:53\"\n";
    let config = load(good, &[("LANEWAY_HOSTS_SITE_DOMAIN", "Lane.Example")]).unwrap();
    assert_eq!(config.hosts.settings().mode, HostMode::Fixed);
}

#[test]
fn variables_of_tests_and_of_the_command_line_are_left_alone() {
    assert!(
        load(
            "",
            &[
                ("LANEWAY_TEST_KAFKA", "x"),
                ("LANEWAY_KEY", "lwk_x"),
                ("PATH", "/bin")
            ]
        )
        .is_ok()
    );
}
