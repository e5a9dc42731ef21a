//! Chance as a parameter, so that tests own it.

use uuid::Builder;

/// Fills buffers with bytes that cannot be foretold.
pub trait Random: Send + Sync + 'static {
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's source, through aws-lc.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        // aws-lc seeds itself from the operating system and ends the process when it cannot;
        // secrets made from anything less would be worse than none.
        if aws_lc_rs::rand::fill(out).is_err() {
            tracing::error!(
                "the random source of this machine failed; secrets cannot be made: stopping"
            );
            std::process::abort();
        }
    }
}

/// 128 bits that sort by the time they were made (UUID version 7), for the platform's own ids.
pub fn new_id(random: &dyn Random, now_us: i64) -> u128 {
    let mut bytes = [0u8; 10];
    random.fill(&mut bytes);
    Builder::from_unix_timestamp_millis(u64::try_from(now_us / 1000).unwrap_or(0), &bytes)
        .as_uuid()
        .as_u128()
}
