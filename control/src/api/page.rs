//! Lists come in pages, by id.

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{ApiError, ApiResult};
use crate::json::answer;

const MOST: u32 = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Goes on after this id: `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most so many, up to 1000; 100 where it is not said.
    pub(crate) limit: Option<u32>,
}

impl PageQuery {
    pub(crate) fn new(after: Option<String>, limit: Option<u32>) -> Self {
        PageQuery { after, limit }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(100).clamp(1, MOST)
    }

    pub(crate) fn after<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
    ) -> ApiResult<Option<T>> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|e: T::Err| ApiError::invalid(format!("after: {e}.")))
        };
        self.after.as_ref().map(parse).transpose()
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Given where there may be more: `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// Answers the page that `query` asked for; `id` is what the next one goes on after.
    pub(crate) fn answer(
        items: impl Iterator<Item = T>,
        query: &PageQuery,
        id: impl Fn(&T) -> String,
    ) -> Response {
        let items: Vec<T> = items.collect();
        let full = items.len() == query.limit() as usize;
        let next = items.last().filter(|_| full).map(id);
        answer(StatusCode::OK, &Page { items, next })
    }
}

/// RFC 3339 as microseconds since 1970; `name` is the field's.
pub(crate) fn micros(name: &str, text: Option<&str>) -> ApiResult<Option<i64>> {
    let parse = |text: &str| {
        text.parse::<jiff::Timestamp>()
            .map(|time| time.as_microsecond())
            .map_err(|error| ApiError::invalid(format!("{name}: {error}.")))
    };
    text.map(parse).transpose()
}

/// The same of a time that has to be in the future.
pub(crate) fn ahead(name: &str, text: Option<&str>, now: i64) -> ApiResult<Option<i64>> {
    let time = micros(name, text)?;
    if time.is_some_and(|time| time <= now) {
        return Err(ApiError::invalid(format!(
            "{name}: it has to be in the future."
        )));
    }
    Ok(time)
}

/// Microseconds since 1970 as RFC 3339.
pub(crate) fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |t| t.to_string())
}
