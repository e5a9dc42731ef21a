//! Processor time and memory of processes, from `/proc`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result};

/// `/proc` counts time in these on every Linux of today, whatever the kernel's own tick
/// (proc_pid_stat(5), `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process, or several together, used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Seconds on a processor since the start, in user and in system mode.
    pub cpu_seconds: f64,
    /// Bytes of memory resident now. Pages shared between processes count in each.
    pub resident_bytes: u64,
}

impl Usage {
    /// Processor seconds used since `earlier`; the memory of now.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            ..self
        }
    }
}

/// Of the process `pid` alone (all of its threads).
pub fn usage(pid: u32) -> Result<Usage> {
    let stat = Stat::read(pid)?;
    Ok(Usage {
        cpu_seconds: seconds(stat.own_ticks),
        resident_bytes: resident_bytes(pid)?,
    })
}

/// Of the process `pid`, its living descendants, and those that it has already waited for.
/// A descendant that ends while this looks is left out.
pub fn usage_with_descendants(pid: u32) -> Result<Usage> {
    let stat = Stat::read(pid)?;
    let mut total = Usage {
        cpu_seconds: seconds(stat.own_ticks + stat.waited_ticks),
        resident_bytes: resident_bytes(pid)?,
    };
    for child in descendants(pid) {
        if let (Ok(stat), Ok(resident)) = (Stat::read(child), resident_bytes(child)) {
            total.cpu_seconds += seconds(stat.own_ticks + stat.waited_ticks);
            total.resident_bytes += resident;
        }
    }
    Ok(total)
}

/// The living children of `pid`, their children, and so on, in no order.
pub fn descendants(pid: u32) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Ok(stat) = Stat::read(process) {
            children.entry(stat.parent).or_default().push(process);
        }
    }
    let mut found = HashSet::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.insert(child);
            open.push(child);
        }
    }
    found
}

struct Stat {
    parent: u32,
    own_ticks: u64,
    waited_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let text = read(Path::new(&path))?;
        Self::parse(&text)
            .with_context(|| format!("{path} is not as proc_pid_stat(5) says: {text}"))
    }

    /// Fields count from 1; the second is the name in parentheses and may itself hold any of them.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let ticks = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            parent: field(4)?.parse().ok()?,
            own_ticks: ticks(14)? + ticks(15)?,
            waited_ticks: ticks(16)? + ticks(17)?,
        })
    }
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    // A process that has ended but was not waited for has no such line, and no memory.
    let text = read(Path::new(&path))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .map_or(Ok(0), |value| {
            value.trim().trim_end_matches(" kB").parse::<u64>()
        })
        .with_context(|| format!("reading VmRSS in {path}"))?;
    Ok(kib * 1024)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("reading {}: has the process ended?", path.display()))
}

/// Exact up to 2^53 ticks, three million years.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = Stat::parse("7 (a) b (c) S 3 7 7 0 -1 0 1 0 0 0 11 22 33 44 20 0 1").unwrap();
        assert_eq!(
            (stat.parent, stat.own_ticks, stat.waited_ticks),
            (3, 33, 77)
        );
    }

    #[test]
    fn a_busy_process_uses_processor_time_and_memory() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.resident_bytes > 100_000, "{before:?}");
        let start = Instant::now();
        let busy = || usage(std::process::id()).unwrap().since(before).cpu_seconds >= 0.05;
        while !busy() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "no processor time counted"
            );
        }
    }

    #[test]
    fn children_of_children_are_descendants() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "tail -f /dev/null & tail -f /dev/null; wait"])
            .spawn()
            .unwrap();
        let start = Instant::now();
        let deep = loop {
            let deep = descendants(child.id());
            if deep.len() == 2 || start.elapsed() > Duration::from_secs(20) {
                break deep;
            }
        };
        let all = usage_with_descendants(std::process::id()).unwrap();
        assert!(all.resident_bytes > usage(std::process::id()).unwrap().resident_bytes);
        for pid in deep.iter().chain([&child.id()]) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
        assert_eq!(deep.len(), 2);
    }
}
