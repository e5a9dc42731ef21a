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
fn topic_sets_are_names_each_once() {
    let sets = load("", &[("LANEWAY_LOG_TOPIC_SETS", "rail,first-bank")]);
    assert_eq!(sets.unwrap().log.topic_sets, ["rail", "first-bank"]);
    for wrong in ["bank,bank", "Bank", "a.b"] {
        let said = load("", &[("LANEWAY_LOG_TOPIC_SETS", wrong)]).unwrap_err();
        assert!(said.contains("log.topic_sets"), "{wrong}: {said}");
    }
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
fn shards_are_read_and_what_cannot_work_names_its_key() {
    let good = "data_dir = \"/srv\"\n[store.shards]\nurls = \"eu=sqlite:{data_dir}/eu.db, bank=postgres://u:hunter2@db/bank?sslmode=require\"\nrule = \"spread\"\nexceptions = [\"acme=eu\"]\ndedicated = [\"bank\"]\n";
    let config = load(good, &[]).unwrap();
    let shards = config.shards().unwrap();
    assert_eq!(shards.urls["eu"], "sqlite:/srv/eu.db");
    assert_eq!(
        shards.urls["bank"],
        "postgres://u:hunter2@db/bank?sslmode=require"
    );
    assert_eq!(shards.exceptions["acme"], "eu");
    assert!(shards.dedicated.contains("bank"));
    assert!(!format!("{config:?}{shards:?}").contains("hunter2"));

    let urls = ("LANEWAY_STORE_SHARDS_URLS", "eu=sqlite:eu.db");
    for (variable, expected) in [
        (
            ("LANEWAY_STORE_SHARDS_URLS", "hunter2"),
            "store.shards.urls (from the environment variable LANEWAY_STORE_SHARDS_URLS) has an entry without =",
        ),
        (
            ("LANEWAY_STORE_SHARDS_URLS", "eu=mysql://u:hunter2@db/x"),
            "gives eu a URL",
        ),
        (
            ("LANEWAY_STORE_SHARDS_URLS", "eu=sqlite:a.db,eu=sqlite:b.db"),
            "names eu twice",
        ),
        (
            ("LANEWAY_STORE_SHARDS_URLS", "eu=sqlite:a.db,us=sqlite:a.db"),
            "has a second name, us",
        ),
        (
            ("LANEWAY_STORE_SHARDS_URLS", "main=sqlite:a.db"),
            "store.shards.urls",
        ),
        (("LANEWAY_STORE_SHARDS_RULE", "random"), "store.shards.rule"),
        (
            ("LANEWAY_STORE_SHARDS_EXCEPTIONS", "acme=mars"),
            "store.shards.exceptions",
        ),
        (
            ("LANEWAY_STORE_SHARDS_DEDICATED", "mars"),
            "store.shards.dedicated",
        ),
        (
            ("LANEWAY_STORE_SHARDS_DEDICATED", "eu,eu"),
            "names eu twice",
        ),
    ] {
        let of_its_own = variable.0 == urls.0;
        let environment = if of_its_own {
            vec![variable]
        } else {
            vec![urls, variable]
        };
        let said = load("", &environment).unwrap_err();
        assert!(said.contains(expected), "'{expected}' is not in:\n{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn hosts_that_cannot_work_are_said_to() {
    let file = "[hosts]\nsite_domain = \"lane.example\"\ntenant_domain = \"t.lane.example\"\ndevelopment_hosts = [\"a b\"]\ndefault_namespace = \"platform\"\n[hosts.proof]\nresolver = \"dns\"\n";
    let said = load(file, &[]).unwrap_err();
    for expected in [
        "hosts.tenant_domain (from some.toml) must not be hosts.site_domain or lie below it",
        "hosts.development_hosts (from some.toml) holds what is no host",
        "hosts.default_namespace (from some.toml) \"platform\" cannot be a namespace's: the word is reserved",
        "hosts.proof.resolver (from some.toml) must be an address with a port",
    ] {
        assert!(said.contains(expected), "'{expected}' is not in:\n{said}");
    }
    let good = "[hosts]\nunregistered = \"subdomain\"\nmode = \"fixed\"\n[hosts.proof]\nresolver = \"[::1]:53\"\n";
    let config = load(good, &[("LANEWAY_HOSTS_SITE_DOMAIN", "Lane.Example")]).unwrap();
    assert_eq!(config.hosts.settings().mode, HostMode::Fixed);
}

#[test]
fn without_authentication_listeners_are_on_loopback_unless_that_is_overruled() {
    let none = ("LANEWAY_AUTH_MODE", "none");
    let reached = load("", &[none]).unwrap();
    let said = reached.exposed(Role::All).unwrap();
    for expected in [
        "http.listen is 0.0.0.0:8080",
        "auth.mode",
        "auth.none_beyond_loopback",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(reached.all_exposed(), [said]);
    assert_eq!(reached.exposed(Role::Processor), None);
    for (role, key) in [
        (Role::Ingest, "http.ingest_listen"),
        (Role::Sink, "http.sink_listen"),
        (Role::Control, "http.control_listen"),
    ] {
        assert!(reached.exposed(role).unwrap().starts_with(key));
    }
    let kafka = load("", &[none, ("LANEWAY_LOG_BACKEND", "kafka")]).unwrap();
    assert_eq!(kafka.all_exposed().len(), 4);
    for (key, value) in [
        ("LANEWAY_HTTP_LISTEN", "127.0.0.1:80"),
        ("LANEWAY_HTTP_LISTEN", "127.9.9.9:80"),
        ("LANEWAY_HTTP_LISTEN", "[::1]:80"),
        ("LANEWAY_AUTH_NONE_BEYOND_LOOPBACK", "true"),
        ("LANEWAY_AUTH_MODE", "credentials"),
    ] {
        let fine = load("", &[none, (key, value)]).unwrap();
        assert_eq!(fine.all_exposed(), [""; 0], "{key} {value}");
    }
    assert!(load("", &[("LANEWAY_AUTH_MODE", "off")]).is_err());
}

#[test]
fn without_authentication_only_names_of_the_machine_are_answered() {
    let fixed = ("LANEWAY_HOSTS_MODE", "fixed");
    let open = [
        fixed,
        ("LANEWAY_AUTH_MODE", "none"),
        ("LANEWAY_HTTP_LISTEN", "[::2]:80"),
    ];
    let settings = load("", &open).unwrap().host_settings(Role::All);
    assert_eq!(
        (settings.mode, settings.known_only),
        (HostMode::Resolve, true)
    );
    assert!(settings.development_hosts.contains(&"[::2]".to_owned()));
    let guarded = load("", &[fixed]).unwrap().host_settings(Role::All);
    assert_eq!((guarded.mode, guarded.known_only), (HostMode::Fixed, false));
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
