//! Loopback ports for servers that tests start.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, flock};

/// Below the range (from 32768 on Linux) that the kernel takes outgoing connections' ports from:
/// otherwise any connection could take the port between choosing it and the server's bind, or
/// while a killed server is down.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// The locks of the ports handed out by this process, kept until it ends.
static HELD: Mutex<Option<HashMap<u16, File>>> = Mutex::new(None);

/// A loopback port that nothing listens on and that no other test process gets before this one
/// ends, so that a server which is killed finds it again when it is restarted.
pub fn free() -> Result<u16> {
    let mut held = HELD
        .lock()
        .map_err(|_| anyhow!("the lock of the free ports is poisoned"))?;
    let held = held.get_or_insert_with(HashMap::new);
    let folder = std::env::temp_dir().join("laneway-test-ports");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("creating the folder of port locks {}", folder.display()))?;
    // Test processes start at different places, so that they seldom try the same port.
    let width = RANGE.end - RANGE.start;
    let first = std::process::id().wrapping_mul(2_654_435_761) >> 16;
    for step in 0..u32::from(width) {
        let offset = (first + step) % u32::from(width);
        let Ok(offset) = u16::try_from(offset) else {
            continue;
        };
        let port = RANGE.start + offset;
        if held.contains_key(&port) {
            continue;
        }
        let path = folder.join(port.to_string());
        let lock = File::create(&path)
            .with_context(|| format!("creating the port lock {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            held.insert(port, lock);
            return Ok(port);
        }
    }
    bail!(
        "no free loopback port between {} and {}: end what listens there",
        RANGE.start,
        RANGE.end
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_never_handed_out_twice() {
        let ports: Vec<u16> = (0..20).map(|_| free().unwrap()).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
