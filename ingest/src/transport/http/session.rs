//! `POST /location/session/start`, `POST /location/session/{id}/stop`

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer};
use serde_json::json;

use super::{answer, authenticate, body, problem};
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
