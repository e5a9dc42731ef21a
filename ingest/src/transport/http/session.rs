//! `POST /location/session/start`, `POST /location/session/{id}/stop`, `GET /location/session/{id}`

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer};
use laneway_store::Session;
use serde_json::json;

use super::{answer, authenticate, body, problem, route};
use crate::Ingest;
use crate::accept::{Refused, SessionAnswer};
use crate::refusal::Refusal;
use crate::wire::{SessionStart, SessionStop, rfc3339};

/// Starts a session.
pub async fn start(
    ingest: &Ingest,
    request: Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Problem> {
    let (head, incoming) = request.into_parts();
    let who = authenticate::authenticate(&ingest.authenticator, &head.headers, peer).await?;
    let bytes = body::read(&head.headers, incoming, &ingest.settings).await?;
    let start = readable(SessionStart::parse(&bytes))?;
    let SessionAnswer {
        session_id,
        at,
        repeated,
    } = ingest
        .accept
        .start(&who, start)
        .await
        .map_err(problem::of_refused)?;
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
pub async fn stop(
    ingest: &Ingest,
    session: &str,
    request: Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Problem> {
    let (head, incoming) = request.into_parts();
    let who = authenticate::authenticate(&ingest.authenticator, &head.headers, peer).await?;
    let bytes = body::read(&head.headers, incoming, &ingest.settings).await?;
    let stop = readable(SessionStop::parse(&bytes))?;
    let SessionAnswer { session_id, at, .. } = ingest
        .accept
        .stop(&who, session, stop)
        .await
        .map_err(problem::of_refused)?;
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

/// What the projection knows of a session. A device sees its own; a key with `positions:read`
/// or `location:write` sees its tenant's, of one device where `?device_id=` names it.
pub async fn find(
    ingest: &Ingest,
    session: &str,
    request: &Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Problem> {
    let who = authenticate::authenticate(&ingest.authenticator, request.headers(), peer).await?;
    let found = ingest
        .accept
        .session(&who, session, device_named(request.uri().query()))
        .await;
    let found = found
        .map_err(problem::of_refused)?
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
