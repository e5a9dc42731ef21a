//! Messages of the websocket (see `docs/stream.md`).

use laneway_runtime::Problem;
use laneway_tenancy::{Placement, TenantId};
use serde::Deserialize;
use serde_json::json;

use super::start::Start;
use crate::event::Filter;

/// Most devices and types in one filter.
const MAX_FILTER: usize = 1000;

#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    Subscribe(Subscribe),
    Token,
}

/// What a client wants, and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    pub filter: Filter,
    pub start: Start,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Subscribe {
        #[serde(default)]
        event_types: Vec<String>,
        #[serde(default)]
        devices: Vec<String>,
        from: Option<WireFrom>,
    },
    Token {},
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireFrom {
    Word(String),
    Place(WirePlace),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WirePlace {
    token: Option<String>,
    positions: Vec<WirePosition>,
    time: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WirePosition {
    Named {
        generation: u32,
        lane: u32,
        offset: u64,
    },
    Listed(u32, u32, u64),
}

impl ClientMessage {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wire: Wire = serde_json::from_str(text).map_err(|e| {
            Problem::bad_request(format!("The message is neither subscribe nor token: {e}."))
        })?;
        Ok(match wire {
            Wire::Token {} => ClientMessage::Token,
            Wire::Subscribe {
                event_types,
                devices,
                from,
            } => ClientMessage::Subscribe(Subscribe {
                filter: filter(event_types.iter().map(String::as_str), devices)?,
                start: start(from)?,
            }),
        })
    }
}

fn start(from: Option<WireFrom>) -> Result<Start, Problem> {
    match from {
        None => Ok(Start::Live),
        Some(WireFrom::Word(word)) => Start::parse(&word),
        Some(WireFrom::Place(WirePlace {
            token: None,
            positions,
            time: Some(time),
        })) if positions.is_empty() => Start::time(&time),
        Some(WireFrom::Place(WirePlace {
            token,
            positions,
            time: None,
        })) if token.is_some() || !positions.is_empty() => {
            let last = positions.into_iter().map(|p| match p {
                WirePosition::Named {
                    generation,
                    lane,
                    offset,
                }
                | WirePosition::Listed(generation, lane, offset) => (generation, lane, offset),
            });
            Ok(Start::After {
                token,
                last: last.collect(),
            })
        }
        Some(WireFrom::Place(_)) => Err(Problem::bad_request(
            "`from` must hold a token, positions, both of them, or a time.",
        )),
    }
}

pub fn filter<'a>(
    types: impl Iterator<Item = &'a str>,
    devices: Vec<String>,
) -> Result<Filter, Problem> {
    if devices.len() > MAX_FILTER {
        return Err(Problem::bad_request(format!(
            "At most {MAX_FILTER} devices can be named; leave them out to get all of them."
        )));
    }
    Filter::parse(types.take(MAX_FILTER), devices).map_err(|unknown| {
        let known: Vec<&str> = laneway_schemas::EventType::ALL
            .iter()
            .map(|t| t.name())
            .collect();
        Problem::bad_request(format!(
            "There is no event type {unknown:?}; there are {}.",
            known.join(", ")
        ))
    })
}

/// What is wanted of what may be read.
pub fn bounded(asked: Subscribe, within: Option<&Filter>) -> Result<Subscribe, Problem> {
    let Some(within) = within else {
        return Ok(asked);
    };
    let filter = asked.filter.within(within).ok_or_else(|| {
        Problem::forbidden(
            "The grant gives none of what is asked for; leave the filter out to get all of it.",
        )
    })?;
    Ok(Subscribe { filter, ..asked })
}

pub fn hello(tenant: TenantId, placement: &Placement) -> String {
    json!({
        "type": "hello",
        "tenant": tenant,
        "generation": placement.generation,
        "lanes": placement.lanes,
    })
    .to_string()
}

pub const SUBSCRIBED: &str = r#"{"type":"subscribed"}"#;
pub const CAUGHT_UP: &str = r#"{"type":"caught_up"}"#;

pub fn token(token: &str) -> String {
    json!({ "type": "token", "token": token }).to_string()
}

pub fn error(problem: &Problem) -> String {
    json!({ "type": "error", "problem": problem.to_json() }).to_string()
}

/// The code to close with after an error (RFC 6455 section 7.4, and 4000 + the HTTP status).
pub fn close_code(problem: &Problem) -> u16 {
    match problem.status.as_u16() {
        503 => 1013,
        status => 4000 + status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_start_is_understood() {
        let start = |text: &str| match ClientMessage::parse(text).unwrap() {
            ClientMessage::Subscribe(s) => s.start,
            ClientMessage::Token => panic!("not a subscribe"),
        };
        assert_eq!(start(r#"{"type":"subscribe"}"#), Start::Live);
        assert_eq!(
            start(r#"{"type":"subscribe","from":"earliest"}"#),
            Start::Earliest
        );
        assert_eq!(
            start(r#"{"type":"subscribe","from":{"time":"1970-01-01T00:00:01Z"}}"#),
            Start::Time(1000)
        );
        let after = Start::After {
            token: Some("v1.x".into()),
            last: vec![(1, 3, 42), (1, 4, 7)],
        };
        let text = r#"{"type":"subscribe","from":{"token":"v1.x","positions":[{"generation":1,"lane":3,"offset":42},[1,4,7]]}}"#;
        assert_eq!(start(text), after);
        assert_eq!(
            ClientMessage::parse(r#"{"type":"token"}"#).unwrap(),
            ClientMessage::Token
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_reason() {
        for bad in [
            "",
            "{}",
            r#"{"type":"other"}"#,
            r#"{"type":"subscribe","from":"soon"}"#,
            r#"{"type":"subscribe","from":{}}"#,
            r#"{"type":"subscribe","event_types":["x"]}"#,
            r#"{"type":"subscribe","unknown":1}"#,
        ] {
            assert!(
                !ClientMessage::parse(bad).unwrap_err().detail.is_empty(),
                "{bad}"
            );
        }
    }
}
