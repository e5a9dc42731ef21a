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

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, Peer, Service};

use crate::Ingest;
use route::{Miss, Route};

impl Service for Ingest {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            let route = match Route::of(request.method(), request.uri().path()) {
                Ok(route) => route,
                Err(miss) => return missed(&miss),
            };
            let answer = match route {
                Route::Update => update::update(self, request, &peer).await,
                Route::Start => session::start(self, request, &peer).await,
                Route::Session(session) => session::find(self, &session, &request, &peer).await,
                Route::Stop(session) => session::stop(self, &session, request, &peer).await,
            };
            answer.unwrap_or_else(Problem::into_response)
        })
    }
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
