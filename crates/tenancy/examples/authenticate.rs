//! What it costs to take a credential from the cache, among 100,000 of them.
//!
//!     cargo run --release -p laneway-tenancy --example authenticate

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::Instant;

const DEVICES: u32 = 100_000;
const LOOKUPS: u32 = 5_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (authenticator, headers) = support::devices(DEVICES);
    for header in &headers {
        authenticator.authenticate(Some(header), None).await?;
    }
    let started = Instant::now();
    for n in 0..LOOKUPS {
        // In no order that a processor's cache could follow.
        let header = &headers[(n.wrapping_mul(2_654_435_761) % DEVICES) as usize];
        anyhow::ensure!(black_box(authenticator.cached(black_box(Some(header)))).is_some());
    }
    let ns = started.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
    println!("a cached credential: {ns:.0} ns");
    Ok(())
}
