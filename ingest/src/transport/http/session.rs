//! `POST /location/session/start`, `POST /location/session/{id}/stop`, `GET /location/session/{id}`

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer};
use laneway_store::Session;
use serde_json::json;

use super::api::{
    Problem as ProblemBody, Session as SessionBody, SessionStart as SessionStartBody,
    SessionStarted, SessionStop as SessionStopBody, SessionStopped,
};
use super::body::Sent;
use super::{answer, authenticate, denied, problem, route};
use crate::Ingest;
use crate::accept::{Endpoint, Refused, SessionAnswer};
use crate::refusal::Refusal;
use crate::wire::{SessionStart, SessionStop, rfc3339};

/// Starts a session.
///
/// Idempotent: a start that this node has seen is answered with 200 and the time of the first.
#[utoipa::path(
    post,
    path = "/location/session/start",
    tag = "sessions",
    request_body = Option<SessionStartBody>,
    responses(
        (status = 201, description = "Started, and durable", body = SessionStarted),
        (status = 200, description = "Started before", body = SessionStarted),
        (status = 400, description = "`bad-request`: the body is not JSON of this shape, ends early, or cannot be decompressed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthorized`: the credentials are missing or not valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a key without the grant `location:write`. `tenant-inactive`: the tenant is suspended or closed. `tenant-mismatch`: another tenant is named, whether or not there is one. `address-not-allowed`: the tenant does not take its credentials from there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`tenant-not-found`: without credentials, the host or the path names a tenant that there is not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`: the body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the body is over 1 MiB, as sent or decompressed. `record-too-large`: a record is larger than the log takes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`content-type`: not JSON. `content-encoding`: not gzip or zstd", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`: the rate of the device or the tenant is used up; nothing of the request was taken. `quota-exceeded`: a quota of the day is used up. `too-many-failures`: authentication failed too often", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 500, description = "`internal`: the server failed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`log-unavailable`, `log-busy`, `log-full`, `unavailable`: not confirmed; sending it again is safe", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 422, description = "`unknown-field`, `duplicate-field`, `wrong-type`, `invalid-id`, `invalid-time`, `attributes-too-large`, `device-mismatch`, `missing-field` (a key names no device), `unknown-device`", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("password" = []))
)]
pub async fn start(ingest: &Ingest, sent: Sent<'_>, peer: Peer) -> Result<Response<Body>, Problem> {
    let (who, bytes) = sent.await?;
    let start = readable(SessionStart::parse(&bytes))?;
    let SessionAnswer {
        session_id,
        at,
        repeated,
    } =
        ingest.accept.start(&who, start).await.map_err(|refused| {
            denied::problem(ingest, &who, &peer, Endpoint::SessionStart, refused)
        })?;
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(answer::json(
        status,
        json!({"session_id": session_id, "started_at": rfc3339(at)}).to_string(),
    ))
}

/// Stops a session.
///
/// Idempotent, and right also for a session whose start has not arrived yet.
#[utoipa::path(
    post,
    path = "/location/session/{id}/stop",
    tag = "sessions",
    params(("id" = String, Path, description = "The session")),
    request_body = Option<SessionStopBody>,
    responses(
        (status = 200, description = "Stopped, and durable", body = SessionStopped),
        (status = 400, description = "`bad-request`: the body is not JSON of this shape, ends early, or cannot be decompressed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthorized`: the credentials are missing or not valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a key without the grant `location:write`. `tenant-inactive`: the tenant is suspended or closed. `tenant-mismatch`: another tenant is named, whether or not there is one. `address-not-allowed`: the tenant does not take its credentials from there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`tenant-not-found`: without credentials, the host or the path names a tenant that there is not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "`body-timeout`: the body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the body is over 1 MiB, as sent or decompressed. `record-too-large`: a record is larger than the log takes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`content-type`: not JSON. `content-encoding`: not gzip or zstd", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`: the rate of the device or the tenant is used up; nothing of the request was taken. `quota-exceeded`: a quota of the day is used up. `too-many-failures`: authentication failed too often", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 500, description = "`internal`: the server failed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`log-unavailable`, `log-busy`, `log-full`, `unavailable`: not confirmed; sending it again is safe", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 422, description = "`unknown-field`, `duplicate-field`, `wrong-type`, `invalid-id`, `invalid-time`, `attributes-too-large`, `device-mismatch`, `missing-field` (a key names no device), `unknown-device`", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []), ("password" = []))
)]
pub async fn stop(
    ingest: &Ingest,
    session: String,
    sent: Sent<'_>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let (who, bytes) = sent.await?;
    let stop = readable(SessionStop::parse(&bytes))?;
    let SessionAnswer { session_id, at, .. } = ingest
        .accept
        .stop(&who, &session, stop)
        .await
        .map_err(|refused| denied::problem(ingest, &who, &peer, Endpoint::SessionStop, refused))?;
    Ok(answer::json(
        StatusCode::OK,
        json!({"session_id": session_id, "stopped_at": rfc3339(at)}).to_string(),
    ))
}

fn readable<T>(parsed: Result<Result<T, Refusal>, String>) -> Result<T, Problem> {
    let unreadable = |reason| {
        Problem::bad_request(format!(
            "The body cannot be read as a JSON object: {reason}."
        ))
    };
    parsed
        .map_err(unreadable)?
        .map_err(|refusal| problem::of_refused(Refused::Invalid(refusal)))
}

/// What is known of a session, some seconds after it happened at most.
///
/// A device sees its own; a key with `positions:read`
/// or `location:write` sees its tenant's, of one device where `?device_id=` names it.
#[utoipa::path(
    get,
    path = "/location/session/{id}",
    tag = "sessions",
    params(
        ("id" = String, Path, description = "The session"),
        ("device_id" = Option<String>, Query, description = "Of this device; else the one that began last"),
    ),
    responses(
        (status = 200, description = "The session", body = SessionBody),
        (status = 401, description = "`unauthorized`: the credentials are missing or not valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a key without `positions:read` and `location:write`. `tenant-inactive`: the tenant is suspended or closed. `tenant-mismatch`: another tenant is named, whether or not there is one. `address-not-allowed`: the tenant does not take its credentials from there", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`not-found`: there is no such session, or it is not the caller's. `tenant-not-found`: without credentials, the host or the path names a tenant that there is not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-failures`: authentication failed too often", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 500, description = "`internal`: the server failed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: the store is out of reach", body = ProblemBody, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
    security(("token" = []), ("password" = []))
)]
pub async fn find(
    ingest: &Ingest,
    session: String,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response<Body>, Problem> {
    let who = authenticate::caller(
        ingest,
        Endpoint::SessionRead,
        request.headers(),
        request.extensions(),
        &peer,
    )
    .await?;
    let found = ingest
        .accept
        .session(&who, &session, device_named(request.uri().query()))
        .await;
    let found = found
        .map_err(|refused| denied::problem(ingest, &who, &peer, Endpoint::SessionRead, refused))?
        .ok_or_else(Problem::not_found)?;
    Ok(answer::json(
        StatusCode::OK,
        session_json(&found).to_string(),
    ))
}

fn device_named(query: Option<&str>) -> Option<String> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("device_id="))
        .map(route::decoded)
}

fn session_json(session: &Session) -> serde_json::Value {
    let time = |at: Option<i64>| at.map(rfc3339);
    json!({
        "session_id": session.session,
        "device_id": session.device,
        "state": session.state,
        "started_at": time(session.started_at),
        "stopped_at": time(session.stopped_at),
        "last_fix_at": time(session.last_fix_at),
        "fixes": session.fixes,
        "distance_m": session.distance_m,
        "duration_s": session.duration_s,
        "attributes": session.attributes,
        "revision": session.revision,
    })
}
