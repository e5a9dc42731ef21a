//! Where a subscription starts: from what the client says to an offset in each lane.

use http::StatusCode;
use laneway_log::{Log, Topic};
use laneway_runtime::Problem;
use laneway_tenancy::{Placement, TenantScope};

use super::feed::unavailable;
use crate::position::{LanePosition, TokenKey};

/// Where to start, as the client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// What the shared tail reads from now on: what is appended, and what of the last moments it
    /// has not come to yet.
    Live,
    /// Everything that is retained.
    Earliest,
    /// After what was received: a token that the stream sent, the positions of events received
    /// since, or both. The positions are those of the last events received.
    After {
        token: Option<String>,
        last: Vec<(u32, u32, u64)>,
    },
    /// What was appended at or after this time, in milliseconds since 1970.
    Time(i64),
}

impl Start {
    /// `live`, `earliest`, a token or a time.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "live" => Ok(Start::Live),
            "earliest" => Ok(Start::Earliest),
            token if token.starts_with("v1.") => Ok(Start::After {
                token: Some(token.to_owned()),
                last: Vec::new(),
            }),
            time => Self::time(time),
        }
    }

    pub fn time(text: &str) -> Result<Self, Problem> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Problem::bad_request(
                "`from` must be live, earliest, a token, or a time such as 2026-01-31T12:00:00Z.",
            )
        })?;
        Ok(Start::Time(time.as_millisecond()))
    }
}

/// The offset to start from in each lane; `None` for live. What was appended before `since`, in
/// milliseconds since 1970, is further back than the tenant may read, and as good as gone.
pub async fn resolve(
    start: Start,
    log: &dyn Log,
    tokens: &TokenKey,
    scope: &TenantScope,
    placement: &Placement,
    since: Option<i64>,
) -> Result<Option<Vec<(u32, u64)>>, Problem> {
    let mut from = Vec::with_capacity(placement.lanes.len());
    let positions = match &start {
        Start::Live => return Ok(None),
        Start::After { token, last } => after(token.as_deref(), last, tokens, scope, placement)?,
        Start::Earliest | Start::Time(_) => Vec::new(),
    };
    for lane in &placement.lanes {
        let bounds = log
            .bounds(Topic::TenantStreams, *lane)
            .await
            .map_err(|e| unavailable(&e))?;
        let at = async |time| {
            let offset = log.offset_at(Topic::TenantStreams, *lane, time).await;
            offset.map_err(|e| unavailable(&e))
        };
        let first = match since {
            Some(since) => at(since).await?.max(bounds.earliest),
            None => bounds.earliest,
        };
        let next = match start {
            Start::Time(time) => at(time).await?.max(first),
            // A lane that the tenant did not have yet: all that is there is new.
            _ => positions
                .iter()
                .find(|p| p.lane == *lane)
                .map_or(first, |p| p.next),
        };
        if next < first || next > bounds.end.max(first) {
            return Err(expired());
        }
        from.push((*lane, next));
    }
    Ok(Some(from))
}

fn after(
    token: Option<&str>,
    last: &[(u32, u32, u64)],
    tokens: &TokenKey,
    scope: &TenantScope,
    placement: &Placement,
) -> Result<Vec<LanePosition>, Problem> {
    let mut positions = match token {
        Some(token) => tokens
            .open(scope, token)
            .map_err(|e| Problem::forbidden(e.to_string()))?,
        None => Vec::new(),
    };
    for (generation, lane, offset) in last {
        if !placement.allows(*lane) {
            return Err(Problem::bad_request(
                "`positions` must be positions of events that the stream sent.",
            ));
        }
        let next = offset.saturating_add(1);
        match positions.iter_mut().find(|p| p.lane == *lane) {
            Some(known) => known.next = known.next.max(next),
            None => positions.push(LanePosition {
                generation: *generation,
                lane: *lane,
                next,
            }),
        }
    }
    if positions
        .iter()
        .any(|p| p.generation > placement.generation)
    {
        return Err(expired());
    }
    if token.is_none()
        && placement
            .lanes
            .iter()
            .any(|l| positions.iter().all(|p| p.lane != *l))
    {
        return Err(Problem::bad_request(
            "`positions` must name every lane of `hello`, or come with the last `token`: otherwise events of the other lanes would be missed or repeated.",
        ));
    }
    Ok(positions)
}

pub fn expired() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "position-expired",
        "The position is no longer retained",
        "Start from earliest for what is left, or from live.",
    )
}
