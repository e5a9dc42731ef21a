//! HTTP: one request is one batch, one session's start or stop, or a question about a session.

mod answer;
pub mod api;
mod authenticate;
mod body;
mod denied;
mod problem;
mod route;
mod session;
mod update;

use std::future::{Future, ready};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer, Service};

use crate::Ingest;
use crate::accept::Endpoint;
use route::{Miss, Route};

impl Service for Ingest {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        let sent = |endpoint, request| Box::pin(body::received(self, endpoint, request, peer));
        match Route::of(request.method(), request.uri().path()) {
            Ok(Route::Update) => {
                let sent = sent(Endpoint::Update, request);
                answered(update::update(self, sent, peer))
            }
            Ok(Route::Start) => {
                let sent = sent(Endpoint::SessionStart, request);
                answered(session::start(self, sent, peer))
            }
            Ok(Route::Stop(session)) => {
                let sent = sent(Endpoint::SessionStop, request);
                answered(session::stop(self, session, sent, peer))
            }
            Ok(Route::Session(session)) => answered(session::find(self, session, request, peer)),
            Err(miss) => ready(missed(&miss)).boxed(),
        }
    }
}

/// Each on the heap by itself: what waits for the log is as small as can be.
fn answered<'a>(
    answer: impl Future<Output = Result<Response<Body>, Problem>> + Send + 'a,
) -> BoxFuture<'a, Response<Body>> {
    answer.unwrap_or_else(Problem::into_response).boxed()
}

fn missed(miss: &Miss) -> Response<Body> {
    match miss {
        Miss::Path => Problem::not_found().into_response(),
        Miss::Method { allow } => {
            let mut response = problem::method_not_allowed(allow).into_response();
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(allow));
            response
        }
    }
}
