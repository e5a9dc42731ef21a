use proptest::prelude::*;

use super::*;

fn tenant(n: u128) -> TenantId {
    TenantId::from_u128(n)
}

fn pattern(text: &str) -> HostPattern {
    text.parse().unwrap()
}

fn settings(unregistered: Unregistered) -> HostSettings {
    HostSettings {
        site_domain: "laneway.example".to_owned(),
        tenant_domain: "Tenants.example.".to_owned(),
        unregistered,
        ..HostSettings::default()
    }
}

/// acme has a host and a wildcard, other a longer wildcard.
fn hosts(settings: HostSettings) -> Hosts {
    let hosts = Hosts::new(settings);
    hosts.set_slug("acme", tenant(1));
    hosts.set_slug("other", tenant(2));
    hosts.set_slug("staging", tenant(3));
    hosts.set_slug("default", tenant(4));
    hosts.set_host(&pattern("tracks.acme.example"), tenant(1));
    hosts.set_host(&pattern("*.fleet.example.com"), tenant(1));
    hosts.set_host(&pattern("*.north.fleet.example.com"), tenant(2));
    hosts.set_host(&pattern("one.north.fleet.example.com"), tenant(1));
    hosts
}

fn claim(hosts: &Hosts, host: &str) -> Claim {
    hosts.of_host(Some(host.as_bytes()))
}

#[test]
fn a_name_as_long_as_there_can_be_falls_under_its_wildcard() {
    let hosts = hosts(settings(Unregistered::Refuse));
    let below = |domain: &str, labels: usize| format!("{}{domain}", "a.".repeat(labels));
    for (name, expected) in [
        (below("fleet.example.com", 118), Claim::Tenant(tenant(1))),
        (
            below("north.fleet.example.com", 115),
            Claim::Tenant(tenant(2)),
        ),
        (below("fleet.example.org", 115), Claim::Unknown),
    ] {
        assert_eq!(claim(&hosts, &name), expected, "{name}");
    }
}

#[test]
fn a_host_is_understood_in_the_order_of_precedence() {
    let hosts = hosts(settings(Unregistered::Refuse));
    for platform in [
        "laneway.example",
        "api.laneway.example:8443",
        "a.b.laneway.example",
        "tenants.example",
        "localhost:8080",
        "acme.localhost",
        "127.0.0.1",
        "[::1]:8080",
        "app.test",
    ] {
        assert_eq!(claim(&hosts, platform), Claim::Nothing, "{platform}");
    }
    for (host, n) in [
        ("tracks.acme.example", 1),
        ("TRACKS.acme.example.:443", 1),
        ("x.fleet.example.com", 1),
        ("a.b.fleet.example.com", 1),
        ("two.north.fleet.example.com", 2),
        ("a.b.north.fleet.example.com", 2),
        ("one.north.fleet.example.com", 1),
        ("north.fleet.example.com", 1),
        ("acme.tenants.example", 1),
        ("other.tenants.example", 2),
        ("default.tenants.example", 4),
    ] {
        assert_eq!(claim(&hosts, host), Claim::Tenant(tenant(n)), "{host}");
    }
    for unknown in [
        "fleet.example.com",
        "acme.example",
        "xtracks.acme.example",
        "nobody.tenants.example",
        "a.acme.tenants.example",
        "acme.tenants.example.com",
        "laneway.example.com",
        "notlaneway.example",
        "staging.myapp.com",
        "10.0.0.1",
        "not a host",
        "",
    ] {
        assert_eq!(claim(&hosts, unknown), Claim::Unknown, "{unknown}");
    }
    assert_eq!(hosts.of_host(None), Claim::Unknown);
}

#[test]
fn an_unregistered_subdomain_may_name_a_tenant_and_an_apex_never_does() {
    let hosts = hosts(settings(Unregistered::Subdomain));
    for (host, expected) in [
        ("staging.myapp.com", Claim::Tenant(tenant(3))),
        ("staging.myapp.co.uk", Claim::Tenant(tenant(3))),
        ("myapp.com", Claim::Nothing),
        ("myapp.co.uk", Claim::Nothing),
        ("co.uk", Claim::Nothing),
        ("10.0.0.1", Claim::Unknown),
        ("nobody.myapp.com", Claim::Unknown),
        ("a.staging.myapp.com", Claim::Unknown),
        ("default.myapp.com", Claim::Tenant(tenant(4))),
        ("tracks.acme.example", Claim::Tenant(tenant(1))),
    ] {
        assert_eq!(claim(&hosts, host), expected, "{host}");
    }
}

#[test]
fn where_only_known_hosts_are_answered_a_name_that_leads_here_is_nobodys() {
    let open = HostSettings {
        mode: HostMode::Fixed,
        unregistered: Unregistered::Subdomain,
        development_hosts: vec!["console.internal".to_owned()],
        ..HostSettings::default()
    };
    let hosts = hosts(open.known_only([192, 0, 2, 7].into()));
    for known in [
        "localhost:8080",
        "127.0.0.1:8080",
        "[::1]",
        "192.0.2.7:8080",
        "console.internal",
    ] {
        assert_eq!(claim(&hosts, known), Claim::Nothing, "{known}");
    }
    for unknown in ["rebound.example", "default.rebound.example", "192.0.2.8"] {
        assert_eq!(claim(&hosts, unknown), Claim::Unknown, "{unknown}");
    }
    assert_eq!(hosts.of_host(None), Claim::Unknown);
    assert_eq!(
        claim(&hosts, "tracks.acme.example"),
        Claim::Tenant(tenant(1))
    );
}

#[test]
fn without_a_domain_only_registered_hosts_claim_and_in_fixed_mode_none_does() {
    let plain = hosts(HostSettings::default());
    for host in [
        "10.0.0.1",
        "anything.example",
        "ingest_1:8001",
        "not a host",
    ] {
        assert_eq!(claim(&plain, host), Claim::Nothing, "{host}");
    }
    assert_eq!(plain.of_host(None), Claim::Nothing);
    assert_eq!(
        claim(&plain, "tracks.acme.example"),
        Claim::Tenant(tenant(1))
    );
    let fixed = hosts(HostSettings {
        mode: HostMode::Fixed,
        ..settings(Unregistered::Refuse)
    });
    for host in ["tracks.acme.example", "acme.tenants.example", "x.example"] {
        assert_eq!(claim(&fixed, host), Claim::Nothing, "{host}");
    }
}

#[test]
fn a_host_that_went_to_another_tenant_is_not_taken_from_it_by_late_news() {
    let hosts = hosts(HostSettings::default());
    let host = pattern("tracks.acme.example");
    hosts.set_host(&host, tenant(2));
    hosts.remove_host(&host, tenant(1));
    assert_eq!(
        claim(&hosts, "tracks.acme.example"),
        Claim::Tenant(tenant(2))
    );
    hosts.remove_host(&host, tenant(2));
    assert_eq!(claim(&hosts, "tracks.acme.example"), Claim::Nothing);
    hosts.set_slug("acme", tenant(2));
    hosts.remove_slug("acme", tenant(1));
    assert_eq!(hosts.of_slug("acme"), Claim::Tenant(tenant(2)));
}

#[test]
fn nobody_registers_the_platforms_names() {
    let hosts = hosts(settings(Unregistered::Refuse));
    for reserved in [
        "laneway.example",
        "api.laneway.example",
        "*.laneway.example",
        "acme.tenants.example",
        "*.tenants.example",
        "app.test.",
        "a.localhost",
    ] {
        assert!(hosts.is_reserved(&pattern(reserved)), "{reserved}");
    }
    for free in [
        "tracks.acme.example",
        "laneway.example.com",
        "*.acme.example",
    ] {
        assert!(!hosts.is_reserved(&pattern(free)), "{free}");
    }
    let deep = Hosts::new(HostSettings {
        site_domain: "lane.apps.example.com".to_owned(),
        ..HostSettings::default()
    });
    assert!(deep.is_reserved(&pattern("*.apps.example.com")));
    assert!(!deep.is_reserved(&pattern("apps.example.com")));
}

#[test]
fn host_and_path_agree_or_contradict_each_other() {
    let (a, b) = (Claim::Tenant(tenant(1)), Claim::Tenant(tenant(2)));
    assert_eq!(a.and(Claim::Nothing), a);
    assert_eq!(Claim::Nothing.and(a), a);
    assert_eq!(a.and(a), a);
    for (one, other) in [(a, b), (a, Claim::Unknown), (Claim::Unknown, a)] {
        assert_eq!(one.and(other), Claim::Contradiction);
        assert!(!one.and(other).allows(tenant(1)));
    }
    assert!(Claim::Nothing.allows(tenant(1)) && a.allows(tenant(1)) && !b.allows(tenant(1)));
}

#[test]
fn settings_that_cannot_work_are_named() {
    assert_eq!(HostSettings::default().check(), []);
    assert_eq!(settings(Unregistered::Refuse).check(), []);
    let wrong = HostSettings {
        site_domain: "laneway.example".to_owned(),
        tenant_domain: "tenants.laneway.example".to_owned(),
        development_hosts: vec!["a b".to_owned()],
        ..HostSettings::default()
    };
    let keys: Vec<&str> = wrong.check().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["tenant_domain", "development_hosts"]);
}

/// What the rule says, without any index.
fn longest<'p>(name: &str, wildcards: &'p [String]) -> Option<&'p String> {
    let under = |base: &&String| below(name, base.trim_start_matches("*.")).is_some();
    wildcards.iter().filter(under).max_by_key(|w| w.len())
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_and_what_is_no_host_never_names_a_tenant(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let hosts = hosts(settings(Unregistered::Subdomain));
        let found = hosts.of_host(Some(&bytes));
        if HostName::of_authority(&bytes).is_none() {
            prop_assert_eq!(found, Claim::Unknown);
        }
    }

    #[test]
    fn however_a_name_is_written_it_is_the_same(
        labels in proptest::collection::vec("[a-z0-9]{1,8}", 2..5), port in 1u16.., upper: bool,
    ) {
        let name = format!("{}.example", labels.join("."));
        let hosts = Hosts::default();
        hosts.set_host(&pattern(&name), tenant(9));
        let written = if upper { name.to_uppercase() } else { name };
        for form in [format!("{written}:{port}"), format!("{written}."), written] {
            prop_assert_eq!(claim(&hosts, &form), Claim::Tenant(tenant(9)));
        }
    }

    #[test]
    fn the_longest_wildcard_wins(
        bases in proptest::collection::btree_set("([ab]\\.){0,4}c", 1..8), name in "([ab]\\.){0,6}c",
    ) {
        let wildcards: Vec<String> = bases.iter().map(|b| format!("*.{b}.example")).collect();
        let hosts = Hosts::default();
        for (n, wildcard) in wildcards.iter().enumerate() {
            hosts.set_host(&pattern(wildcard), tenant(n as u128));
        }
        let name = format!("{name}.example");
        let expected = longest(&name, &wildcards)
            .and_then(|found| wildcards.iter().position(|w| w == found))
            .map_or(Claim::Nothing, |n| Claim::Tenant(tenant(n as u128)));
        prop_assert_eq!(claim(&hosts, &name), expected);
    }

    #[test]
    fn a_pattern_reads_back_as_itself_and_is_a_host(text in "(\\*\\.)?[a-zA-Z0-9.-]{1,40}") {
        if let Ok(pattern) = text.parse::<HostPattern>() {
            let again: HostPattern = pattern.as_str().parse().unwrap();
            prop_assert_eq!(&again, &pattern);
            prop_assert!(HostName::of_authority(pattern.base().as_bytes()).is_some());
        }
    }
}
