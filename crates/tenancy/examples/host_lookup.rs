//! What looking up a host costs with 10,000 tenants and 30,000 hosts.
//!
//!     cargo run --release -p laneway-tenancy --example host_lookup

use std::hint::black_box;
use std::time::Instant;

use laneway_tenancy::TenantId;
use laneway_tenancy::hosts::{Claim, HostSettings, Hosts};

const TENANTS: u128 = 10_000;
const LOOKUPS: u32 = 5_000_000;

fn main() -> anyhow::Result<()> {
    let hosts = Hosts::new(HostSettings {
        site_domain: "laneway.example".to_owned(),
        tenant_domain: "tenants.example".to_owned(),
        ..HostSettings::default()
    });
    let filling = Instant::now();
    for n in 0..TENANTS {
        let tenant = TenantId::from_u128(n);
        hosts.set_slug(&format!("tenant-{n}"), tenant);
        for name in [
            format!("tracks.customer-{n}.example"),
            format!("api.customer-{n}.example"),
            format!("*.fleet.customer-{n}.example"),
        ] {
            hosts.set_host(&name.parse()?, tenant);
        }
    }
    println!("filled in {:?}", filling.elapsed());
    let names = |form: &dyn Fn(u128) -> String| (0..4096).map(|n| form(n * 2)).collect();
    let cases: [(&str, Vec<String>); 6] = [
        ("site", names(&|_| "api.laneway.example".to_owned())),
        (
            "exact",
            names(&|n| format!("Tracks.customer-{n}.example:8443")),
        ),
        (
            "wildcard",
            names(&|n| format!("a.b.fleet.customer-{n}.example")),
        ),
        (
            "tenant domain",
            names(&|n| format!("tenant-{n}.tenants.example")),
        ),
        ("unknown", names(&|n| format!("nobody-{n}.example"))),
        ("127 labels", names(&|_| format!("{}a", "a.".repeat(126)))),
    ];
    for (case, names) in cases {
        let started = Instant::now();
        let mut found = 0u64;
        for n in 0..LOOKUPS {
            let name = names[n as usize % names.len()].as_bytes();
            found += u64::from(matches!(
                hosts.of_host(black_box(Some(name))),
                Claim::Tenant(_)
            ));
        }
        let ns = started.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
        println!("{case:14} {ns:6.0} ns   {found} of {LOOKUPS} name a tenant");
    }
    Ok(())
}
