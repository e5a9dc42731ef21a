//! CPU of the processes of a run, and how results are printed.

use anyhow::Result;
use laneway_testkit::cpu::{self, Usage};

/// What one run of one program gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub events: u64,
    pub seconds: f64,
    /// CPU seconds of the program, the broker and the load.
    pub program: f64,
    pub broker: f64,
    pub load: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Sample {
    pub fn per_million(&self, cpu: f64) -> f64 {
        cpu * 1e6 / self.events.max(1) as f64
    }

    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// CPU seconds that a process has used so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let usage: Usage = cpu::usage(pid)?;
    Ok(usage.cpu_seconds)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of the table: ours, the floor's, and the ratio of the program's CPU.
pub fn print(what: &str, ours: &[Sample], floor: &[Sample]) {
    let of =
        |samples: &[Sample], value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
    let cpu = |s: &Sample| s.per_million(s.program);
    println!(
        "{what}: CPU-s/M {:.2} (floor {:.2}, ratio {:.2}); rate {:.0}/s (floor {:.0}/s); broker {:.2} ({:.2}); \
         load {:.2} ({:.2}); p50 {:.0} µs ({:.0}), p99 {:.0} µs ({:.0})",
        of(ours, cpu),
        of(floor, cpu),
        of(ours, cpu) / of(floor, cpu),
        of(ours, Sample::rate),
        of(floor, Sample::rate),
        of(ours, |s| s.per_million(s.broker)),
        of(floor, |s| s.per_million(s.broker)),
        of(ours, |s| s.per_million(s.load)),
        of(floor, |s| s.per_million(s.load)),
        of(ours, |s| s.p50_us as f64),
        of(floor, |s| s.p50_us as f64),
        of(ours, |s| s.p99_us as f64),
        of(floor, |s| s.p99_us as f64),
    );
}
