//! How far each group is behind, lane by lane: for the operator, and as a metric.

use std::time::Duration;

use laneway_log::{Log, LogError, group_lag, groups};
use laneway_runtime::Lifecycle;
use serde::Serialize;
use utoipa::ToSchema;

const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LaneLag {
    pub group: &'static str,
    pub topic: &'static str,
    /// Lanes are numbered over all topic sets.
    pub lane: u32,
    /// The topic set of the lane, where it is not the shared one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<String>,
    /// The next offset that the group reads, where it has committed one.
    pub committed: Option<u64>,
    /// Readers get what is below.
    pub end: u64,
    /// Records that the group has not read.
    pub lag: u64,
}

/// Of every group, topic and lane.
pub(crate) async fn lanes(log: &dyn Log) -> Result<Vec<LaneLag>, LogError> {
    let (mut lanes, sets) = (Vec::new(), log.sets());
    for group in groups::ALL {
        for topic in group.topics {
            let lags = group_lag(log, group.name, *topic).await?;
            lanes.extend(lags.into_iter().map(|l| LaneLag {
                group: group.name,
                topic: topic.name(),
                lane: l.partition,
                topics: sets.name(sets.place(l.partition).0).map(str::to_owned),
                committed: l.committed,
                end: l.last_stable,
                lag: l.lag,
            }));
        }
    }
    Ok(lanes)
}

/// Keeps `laneway_lag_records{group,topic,lane}` up to date until the drain.
pub(crate) async fn measure(log: &dyn Log, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        match lanes(log).await {
            Ok(lanes) => lanes.iter().for_each(publish),
            Err(error) => tracing::debug!(%error, "the lag cannot be told"),
        }
        tokio::select! {
            () = &mut draining => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Lanes are as many as partitions: a bounded set of labels.
fn publish(lane: &LaneLag) {
    let labels = [
        ("group", lane.group.to_owned()),
        ("topic", lane.topic.to_owned()),
        ("lane", lane.lane.to_string()),
    ];
    metrics::gauge!("laneway_lag_records", &labels).set(lane.lag as f64);
}
