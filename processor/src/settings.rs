//! The `[processor]` section of the configuration.

use serde::Deserialize;

use crate::derive::Bounds;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessorSettings {
    /// How far a fix may lie behind its device's latest and still change windows and sessions,
    /// in seconds of event time.
    pub horizon_seconds: u64,
    /// Remembered fixes of a device, beyond those of its last six minutes.
    pub max_points: usize,
    /// Ids of a device's other fixes within the horizon, by which repeats are told.
    pub remembered_ids: usize,
    /// A device that has sent nothing for so long has its open window closed, in seconds.
    pub idle_close_seconds: u64,
    /// Input records of a unit of work, at most.
    pub max_unit_records: usize,
    /// How long a unit of work may grow while input keeps coming, in milliseconds.
    pub max_unit_ms: u64,
}

impl Default for ProcessorSettings {
    fn default() -> Self {
        ProcessorSettings {
            horizon_seconds: 86_400,
            max_points: 2_000,
            remembered_ids: 20_000,
            idle_close_seconds: 120,
            max_unit_records: 25_000,
            max_unit_ms: 250,
        }
    }
}

impl ProcessorSettings {
    pub fn validate(&self) -> anyhow::Result<()> {
        let whole = |name: &str, value: u64, least: u64, most: u64| {
            anyhow::ensure!(
                (least..=most).contains(&value),
                "processor.{name} is {value}: set it to {least} to {most}"
            );
            Ok(())
        };
        whole("horizon_seconds", self.horizon_seconds, 60, 366 * 86_400)?;
        whole("max_points", self.max_points as u64, 16, 1_000_000)?;
        whole("remembered_ids", self.remembered_ids as u64, 0, 1_000_000)?;
        whole("idle_close_seconds", self.idle_close_seconds, 1, 86_400)?;
        whole(
            "max_unit_records",
            self.max_unit_records as u64,
            1,
            1_000_000,
        )?;
        whole("max_unit_ms", self.max_unit_ms, 1, 10_000)
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            horizon_us: i64::try_from(self.horizon_seconds)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000),
            max_points: self.max_points,
            remembered_ids: self.remembered_ids,
        }
    }

    pub fn idle_close_us(&self) -> i64 {
        i64::try_from(self.idle_close_seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000)
    }
}
