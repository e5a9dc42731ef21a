//! `Idempotency-Key`: a creation that is asked for again with the same key is answered as the
//! first time, and not made again.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use laneway_runtime::Problem;
use laneway_store::{Begun, IdempotentAnswers};
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::caller::{App, Caller};
use crate::error::{ApiError, ApiResult};
use crate::json::MAX_BODY;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long an answer is kept.
const LIFETIME_US: i64 = 24 * 3600 * 1_000_000;
/// A request that was not ended after this long belongs to a process that is gone.
const ABANDONED_US: i64 = 60 * 1_000_000;
const LONGEST_KEY: usize = 200;
/// Ends of the paths of creations that have a way of their own to be asked for again: the key is
/// of no use there, and their callers and bodies are of other kinds.
const SAFE_TO_REPEAT: [&str; 2] = ["/enrol", "/devices/bulk"];

#[derive(Serialize, Deserialize)]
struct Kept {
    etag: Option<String>,
    body: String,
}

/// Wraps every route.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let asks = request.method() == Method::POST && request.headers().contains_key(KEY);
    let path = request.uri().path();
    if !asks || SAFE_TO_REPEAT.iter().any(|end| path.ends_with(end)) {
        return next.run(request).await;
    }
    match once(&app, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn once(app: &App, request: Request, next: Next) -> ApiResult<Response> {
    let control = app.control()?;
    let (mut parts, body) = request.into_parts();
    let key = key(&parts)?;
    let caller = Caller::from_request_parts(&mut parts, app).await?;
    let body = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| ApiError::too_large(MAX_BODY))?;
    let fingerprint = fingerprint(&control, &parts, &body);
    let answers = answers(&control, &caller);
    let now = control.deps.clock.now_us();
    let begun = answers.begin(&key, &fingerprint, now, LIFETIME_US).await?;
    match begun {
        Begun::First => {}
        Begun::Answered { status, answer } => return replayed(status, &answer),
        Begun::AtWork { since } => return Err(unended(since, now).into()),
        Begun::Other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The key was used for another request",
                "A key belongs to one request of one caller, with its path and body.",
            )
            .into());
        }
    }
    let request = Request::from_parts(parts, axum::body::Body::from(body));
    let response = next.run(request).await;
    if !response.status().is_success() {
        answers.give_up(&key).await?;
        return Ok(response);
    }
    kept(&answers, &key, response).await
}

/// Of a request that was begun `since` then. After a while it is not known whether it was carried
/// out: to do it again could do it twice.
fn unended(since: i64, now: i64) -> Problem {
    if now < since.saturating_add(ABANDONED_US) {
        return Problem::new(
            StatusCode::CONFLICT,
            "idempotency-key-in-use",
            "A request with this key is at work",
            "Send it again in a moment.",
        )
        .retry_after(1);
    }
    Problem::new(
        StatusCode::CONFLICT,
        "idempotency-outcome-unknown",
        "The request with this key was not ended",
        "The server was stopped while it was at work. See whether it was done; if not, send it \
         with another key.",
    )
}

fn key(parts: &Parts) -> ApiResult<String> {
    parts
        .headers
        .get(KEY)
        .and_then(|value| value.to_str().ok())
        .filter(|key| (1..=LONGEST_KEY).contains(&key.len()))
        .map(str::to_owned)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "Idempotency-Key: 1 to {LONGEST_KEY} printable characters."
            ))
            .into()
        })
}

/// Who asks for what, under the deployment's key.
fn fingerprint(control: &Control, parts: &Parts, body: &[u8]) -> [u8; 32] {
    let credentials = parts.headers.get(header::AUTHORIZATION);
    let mut asked = Vec::with_capacity(body.len() + 256);
    for part in [
        credentials.map_or(&b""[..], HeaderValue::as_bytes),
        parts.uri.to_string().as_bytes(),
        body,
    ] {
        asked.extend_from_slice(&(part.len() as u64).to_be_bytes());
        asked.extend_from_slice(part);
    }
    control.deps.authenticator.hasher().hash(&asked)
}

fn answers<'a>(control: &'a Arc<Control>, caller: &Caller) -> IdempotentAnswers<'a> {
    let store = &control.deps.store;
    match caller {
        Caller::Tenant(caller) => store.idempotent_answers(&caller.scope),
        Caller::LocalOperator(operator) => store.operators_idempotent_answers(operator),
    }
}

async fn kept(
    answers: &IdempotentAnswers<'_>,
    key: &str,
    response: Response,
) -> ApiResult<Response> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        tracing::error!("an answer was too large to be kept for its idempotency key");
        ApiError::internal()
    })?;
    let kept = Kept {
        etag: parts
            .headers
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let text = serde_json::to_string(&kept).map_err(|error| {
        tracing::error!(%error, "an answer cannot be kept for its idempotency key");
        ApiError::internal()
    })?;
    answers.finish(key, parts.status.as_u16(), &text).await?;
    Ok(Response::from_parts(parts, axum::body::Body::from(body)))
}

fn replayed(status: u16, answer: &str) -> ApiResult<Response> {
    let kept: Kept = serde_json::from_str(answer).map_err(|error| {
        tracing::error!(%error, "a kept answer cannot be read");
        ApiError::internal()
    })?;
    let mut response = Response::new(axum::body::Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(tag) = kept.etag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_ended_is_not_done_again_however_late() {
        let early = unended(0, ABANDONED_US - 1);
        let late = unended(0, ABANDONED_US);
        assert!(format!("{early:?}").contains("idempotency-key-in-use"));
        assert!(format!("{late:?}").contains("idempotency-outcome-unknown"));
    }
}
