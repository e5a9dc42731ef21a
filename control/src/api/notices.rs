//! What the operator tells all tenants: a notice in the namespace `runtime`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_notices::{Kind, NoticeError, Saying, Severity};
use laneway_runtime::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::time;
use crate::Control;
use crate::caller::Operator;
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, answer};

const LONGEST_TITLE: usize = 200;
const LONGEST_TEXT: usize = 4000;
const MOST_DETAILS: usize = 32;
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 500;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoticeNew {
    /// `deployment`, `health`, `quota`, `breaker`, `maintenance`, or `information` where it is not
    /// said.
    kind: Option<String>,
    /// `warning`, `critical`, or `info` where it is not said.
    severity: Option<String>,
    /// A line of at most 200 characters.
    title: String,
    /// At most 4000 characters.
    text: Option<String>,
    /// For programs: at most 32 values of 500 characters, by names of 64.
    #[serde(default)]
    details: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoticeGiven {
    /// The event's id.
    id: String,
    noticed_at: String,
}

#[utoipa::path(post, path = "/operator/notices", tag = "operator", request_body = NoticeNew,
    description = "Tells all tenants: an event `laneway.notice` in the stream of the namespace `runtime`. It says nothing of a tenant.",
    responses((status = 201, body = NoticeGiven), (status = 422)))]
pub(crate) async fn give(
    _operator: Operator,
    control: Arc<Control>,
    Json(new): Json<NoticeNew>,
) -> ApiResult<Response> {
    let saying = checked(new)?;
    control.trail.begun(&control.deps).await?;
    let said = control.deps.announcer.say(saying).await.map_err(trouble)?;
    let given = NoticeGiven {
        noticed_at: time(said.noticed_at),
        id: said.event_id,
    };
    Ok(answer(StatusCode::CREATED, &given))
}

fn checked(new: NoticeNew) -> ApiResult<Saying> {
    let kind = one_of("kind", new.kind, Kind::Information, &Kind::ALL, Kind::name)?;
    let severity = one_of(
        "severity",
        new.severity,
        Severity::Info,
        &Severity::ALL,
        Severity::name,
    )?;
    let title = new.title.trim();
    let longest = |field: &str, text: &str, most: usize| match text.chars().count() {
        count if count > most => Err(ApiError::invalid(format!(
            "{field} has {count} characters; at most {most}."
        ))),
        _ => Ok(()),
    };
    longest("title", title, LONGEST_TITLE)?;
    if title.is_empty() || title.chars().any(char::is_control) {
        return Err(ApiError::invalid("title is a line of text."));
    }
    longest(
        "text",
        new.text.as_deref().unwrap_or_default(),
        LONGEST_TEXT,
    )?;
    if new.details.len() > MOST_DETAILS {
        let count = new.details.len();
        return Err(ApiError::invalid(format!(
            "details has {count} values; at most {MOST_DETAILS}."
        )));
    }
    for (name, value) in &new.details {
        longest("a name in details", name, LONGEST_NAME)?;
        longest(&format!("details.{name}"), value, LONGEST_VALUE)?;
    }
    Ok(Saying {
        kind,
        severity,
        title: title.to_owned(),
        text: new.text,
        details: new.details,
    })
}

/// The one of a name, or the usual one where none is given.
fn one_of<T: Copy>(
    field: &str,
    given: Option<String>,
    usual: T,
    all: &[T],
    name: fn(T) -> &'static str,
) -> ApiResult<T> {
    let Some(given) = given else { return Ok(usual) };
    let found = all.iter().copied().find(|one| name(*one) == given);
    found.ok_or_else(|| {
        let known: Vec<_> = all.iter().copied().map(name).collect();
        ApiError::invalid(format!(
            "{field}: {given:?} is none; there are {}.",
            known.join(", ")
        ))
    })
}

fn trouble(error: NoticeError) -> ApiError {
    match error {
        NoticeError::Encode(error) => {
            tracing::error!(%error, "a notice cannot be encoded");
            ApiError::internal()
        }
        NoticeError::NotYet | NoticeError::Log(_) => {
            tracing::warn!(%error, "a notice cannot be given");
            Problem::unavailable("The notice could not be written; it may be there all the same.")
                .into()
        }
    }
}
