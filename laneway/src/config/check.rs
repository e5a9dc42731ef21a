//! What a key's type cannot say: bounds, and keys that belong together.

use laneway_log::Backend;
use laneway_tenancy::slug;

use super::Config;
use super::layers::Layers;

pub fn check(config: &Config, layers: &mut Layers) {
    let mut wrong = |path: &str, what: &str| {
        let origin = layers.origin(path);
        layers
            .problems
            .add(format!("{path} (from {origin}) {what}"));
    };
    bounds(config, &mut wrong);
    secrets(config, &mut wrong);
    let tls = &config.http.tls;
    match (
        tls.cert_file.as_os_str().is_empty(),
        tls.key_file.as_os_str().is_empty(),
    ) {
        (false, true) => wrong(
            "http.tls.key_file",
            "is missing: the certificate needs its key",
        ),
        (true, false) => wrong(
            "http.tls.cert_file",
            "is missing: the key needs its certificate",
        ),
        _ => {}
    }
    if config.log.backend == Backend::Kafka && config.log.kafka.bootstrap.trim().is_empty() {
        wrong(
            "log.kafka.bootstrap",
            "is empty: name at least one broker as host:port",
        );
    }
    if config.log.kafka.security.starts_with("sasl_") && config.log.kafka.sasl.username.is_empty() {
        wrong(
            "log.kafka.sasl.username",
            "is empty, but log.kafka.security asks for a login",
        );
    }
    for (key, what) in config.hosts.settings().check() {
        wrong(&format!("hosts.{key}"), &what);
    }
    let resolver = &config.hosts.proof.resolver;
    if !resolver.is_empty() && resolver.parse::<std::net::SocketAddr>().is_err() {
        wrong(
            "hosts.proof.resolver",
            "must be an address with a port, such as 9.9.9.9:53, or empty",
        );
    }
    if let Err(error) = config.processor.validate() {
        layers.problems.add(error.to_string());
    }
}

fn bounds(config: &Config, wrong: &mut impl FnMut(&str, &str)) {
    let positive = [
        ("drain_seconds", config.drain_seconds),
        (
            "http.header_timeout_seconds",
            config.http.header_timeout_seconds,
        ),
        (
            "http.idle_timeout_seconds",
            config.http.idle_timeout_seconds,
        ),
        ("http.max_connections", config.http.max_connections as u64),
        ("log.retention_seconds", config.log.retention_seconds),
        ("log.max_record_bytes", config.log.max_record_bytes as u64),
        ("log.max_queued_bytes", config.log.max_queued_bytes as u64),
        (
            "log.kafka.transaction_timeout_ms",
            u64::from(config.log.kafka.transaction_timeout_ms),
        ),
        (
            "log.kafka.delivery_timeout_ms",
            u64::from(config.log.kafka.delivery_timeout_ms),
        ),
        ("store.acquire_timeout_ms", config.store.acquire_timeout_ms),
        (
            "store.max_connections",
            u64::from(config.store.max_connections),
        ),
        (
            "store.secret_key_command_timeout_ms",
            config.store.secret_key_command_timeout_ms,
        ),
        ("auth.cache_entries", config.auth.cache_entries as u64),
        ("auth.password_threads", config.auth.password_threads as u64),
        ("registry.timeout_ms", config.registry.timeout_ms),
        ("hosts.proof.timeout_ms", config.hosts.proof.timeout_ms),
        (
            "hosts.proof.again_seconds",
            config.hosts.proof.again_seconds,
        ),
        (
            "hosts.proof.retry_seconds",
            config.hosts.proof.retry_seconds,
        ),
    ];
    for (path, value) in positive {
        if value == 0 {
            wrong(path, "must be at least 1");
        }
    }
    if !(1..=10_000).contains(&config.log.partitions) {
        wrong("log.partitions", "must be from 1 to 10000");
    }
    let mut sets = config.log.topic_sets.clone();
    sets.sort_unstable();
    sets.dedup();
    if sets.len() < config.log.topic_sets.len() || !sets.iter().all(|set| slug::is_label(set)) {
        let what = "must name each set once, with 1 to 40 of a-z, 0-9 and -";
        wrong("log.topic_sets", what);
    }
    if !(1_000..=300_000).contains(&config.log.session_timeout_ms) {
        wrong("log.session_timeout_ms", "must be from 1000 to 300000");
    }
    if config.log.max_record_bytes > config.log.max_queued_bytes {
        wrong(
            "log.max_queued_bytes",
            "must be at least log.max_record_bytes",
        );
    }
    if config.log.kafka.linger_ms < 0.0 {
        wrong("log.kafka.linger_ms", "must not be negative");
    }
    if !["none", "lz4", "zstd", "snappy", "gzip"].contains(&config.log.kafka.compression.as_str()) {
        wrong(
            "log.kafka.compression",
            "must be none, lz4, zstd, snappy or gzip",
        );
    }
    if !["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
        .contains(&config.log.kafka.security.as_str())
    {
        wrong(
            "log.kafka.security",
            "must be plaintext, ssl, sasl_plaintext or sasl_ssl",
        );
    }
}

fn secrets(config: &Config, wrong: &mut impl FnMut(&str, &str)) {
    let url = config.store.url.reveal();
    let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !postgres && !config.store_is_embedded() {
        wrong("store.url", "must begin with sqlite: or postgres://");
    }
    if let Err((key, what)) = config.store.shards.read(url) {
        wrong(&format!("store.shards.{key}"), &what);
    }
    let token_key = &config.sink.token_key;
    if !token_key.is_empty() && token_key.len() < 32 {
        wrong(
            "sink.token_key",
            "must have at least 32 characters (openssl rand -hex 32)",
        );
    }
    if crate::secrets::parse_list(config.store.secret_keys_old.reveal()).is_none() {
        wrong(
            "store.secret_keys_old",
            "must be keys of 64 hexadecimal digits, separated by commas",
        );
    }
    let command = !config.store.secret_key_command.trim().is_empty();
    if command && !config.store.secret_key.reveal().is_empty() {
        wrong(
            "store.secret_key_command",
            "is set, and so is store.secret_key: leave one out",
        );
    }
    for (path, key) in [
        ("auth.hash_key", &config.auth.hash_key),
        ("store.secret_key", &config.store.secret_key),
    ] {
        let text = key.reveal();
        if text.is_empty() {
            let elsewhere = command && path == "store.secret_key";
            if postgres && !elsewhere {
                wrong(
                    path,
                    "is empty: with PostgreSQL all nodes must be given the same one (openssl rand -hex 32)",
                );
            }
        } else if crate::secrets::parse(text).is_none() {
            wrong(path, "must be 64 hexadecimal digits (openssl rand -hex 32)");
        }
    }
}
