//! `GET /stream`: authenticates, and opens a websocket or a stream of server-sent events.

pub mod api;
mod trail;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use laneway_hosts::{Denied, Named, admit};
use laneway_runtime::Problem;
use laneway_runtime::http::body::empty;
use laneway_runtime::http::{Body, Peer, Service};
use laneway_tenancy::{Authenticated, GrantId};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Sink;
use crate::stream::connections::Registered;
use crate::stream::feed::Feed;
use crate::stream::opening::Opening;
use crate::stream::protocol::{Subscribe, bounded};
use crate::stream::request::{self, Asked, PROTOCOL};
use crate::stream::socket::Socket;
use crate::stream::sse::SseConnection;
use crate::stream::start::{self, Start};
use crate::stream::websocket::Connection;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl Service for Sink {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            self.answer(request, peer)
                .await
                .unwrap_or_else(Problem::into_response)
        })
    }
}

impl Sink {
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Response<Body>, Problem> {
        if request.uri().path() != "/stream" || !self.deps.settings.stream.enabled {
            return Err(Problem::not_found());
        }
        if request.method() != Method::GET {
            return Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Only GET is possible here",
                "",
            ));
        }
        let caller = self.authenticate(&request, &peer).await?;
        let Asked { grant, subscribe } = request::query(request.uri().query())?;
        let opening = self.opening(caller, grant, &peer)?;
        let websocket = asks_for_websocket(request.headers());
        if websocket || accepts_events(request.headers()) {
            let registered = self.register(&opening).await?;
            // Again: a revocation from before it was registered has not ended it.
            let caller = self.authenticate(&request, &peer).await?;
            let opening = self.opening(caller, grant, &peer)?;
            self.record(&opening.who, &peer).await?;
            if websocket {
                return self.websocket(request, opening, registered, subscribe);
            }
            self.events(request.headers(), opening, registered, subscribe)
                .await
        } else {
            Err(Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade-required",
                "This is a stream",
                "Open a websocket, or send Accept: text/event-stream.",
            ))
        }
    }

    async fn authenticate(
        &self,
        request: &Request<Incoming>,
        peer: &Peer,
    ) -> Result<Authenticated, Problem> {
        let credentials = request::authorization(request.headers());
        let authenticated = self
            .deps
            .authenticator
            .authenticate(credentials.as_deref(), peer.address)
            .await;
        let (directory, named) = (&self.deps.directory, request.extensions());
        let admitted = admit(directory, named, peer.address, authenticated);
        admitted.map_err(|Denied { problem, caller }| {
            if let Some(caller) = caller {
                let name = named.get().map(|named: &Named| named.name.to_string());
                let name = name.unwrap_or_else(|| caller.tenant.id.to_string());
                self.denied(&caller, peer, name, &problem);
            }
            problem
        })
    }

    fn opening(
        &self,
        caller: Authenticated,
        grant: Option<GrantId>,
        peer: &Peer,
    ) -> Result<Opening, Problem> {
        let (known, now) = (caller.clone(), self.deps.clock.now_us());
        let opening = Opening::of(caller, grant, &self.deps.directory, now);
        opening.inspect_err(|problem| {
            let name = grant.map(|id| id.to_string()).unwrap_or_default();
            self.denied(&known, peer, name, problem);
        })
    }

    fn websocket(
        &self,
        mut request: Request<Incoming>,
        opening: Opening,
        registered: Registered,
        subscribe: Option<Subscribe>,
    ) -> Result<Response<Body>, Problem> {
        let headers = request.headers();
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
            let mut response = Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade-required",
                "The websocket version is not spoken here",
                "Use version 13.",
            )
            .into_response();
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return Ok(response);
        }
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .ok_or_else(|| Problem::bad_request("The header Sec-WebSocket-Key is missing."))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
            .map_err(|_| Problem::bad_request("The header Sec-WebSocket-Key is not valid."))?;
        let protocol = request::asks_for_protocol(headers);
        let context = Arc::clone(&self.stream);
        let Opening { who, within, .. } = opening;
        let counts = self.counts(&who);
        let upgrade = hyper::upgrade::on(&mut request);
        // Boxed once it is needed: what waits for the upgrade stays small.
        context.tasks.clone().spawn(async move {
            let io = match upgrade.await {
                Ok(upgraded) => TokioIo::new(upgraded),
                Err(error) => return tracing::debug!(%error, "a websocket was not opened"),
            };
            let socket = Socket::new(io, context.settings.max_message_bytes);
            let placement = who.tenant.body.placement.clone();
            let retention_seconds = who.tenant.body.limits.retention_seconds;
            let scope = who.scope.clone();
            // A connection may stay for days: it keeps nothing else of who opened it.
            drop(who);
            Connection {
                context,
                scope,
                within,
                placement,
                retention_seconds,
                registered,
                counts,
                socket,
            }
            .run(subscribe)
            .await;
        });
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        Ok(response)
    }

    async fn events(
        &self,
        headers: &HeaderMap,
        opening: Opening,
        registered: Registered,
        subscribe: Option<Subscribe>,
    ) -> Result<Response<Body>, Problem> {
        let Opening { who, within, .. } = opening;
        let asked = subscribe.unwrap_or(Subscribe {
            filter: Default::default(),
            start: Start::Live,
        });
        let Subscribe { filter, mut start } = bounded(asked, within.as_ref())?;
        if let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
            let token = id
                .to_str()
                .map_err(|_| Problem::bad_request("Last-Event-ID is not a token."))?;
            start = Start::After {
                token: Some(token.to_owned()),
                last: Vec::new(),
            };
        }
        let (context, scope) = (Arc::clone(&self.stream), who.scope.clone());
        let placement = &who.tenant.body.placement;
        let since = context.since(who.tenant.body.limits.retention_seconds);
        let (log, tokens) = (&*context.log, &context.tokens);
        let from = start::resolve(start, log, tokens, &scope, placement, since).await?;
        let feed = Feed::start(Arc::clone(&context), &scope, placement, filter, from).await?;
        let counts = self.counts(&who);
        Ok(SseConnection {
            context,
            scope,
            registered,
            counts,
            feed,
        }
        .respond())
    }

    async fn register(&self, opening: &Opening) -> Result<Registered, Problem> {
        let elsewhere = self.elsewhere.of(&opening.who.home().tenant).await;
        if self.stream.stop.is_cancelled() {
            return Err(Problem::unavailable("The sink is stopping."));
        }
        self.stream
            .connections
            .register(&opening.who, elsewhere)
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-connections",
                    "There are too many connections",
                    "The tenant has as many open streams as it may; close some first.",
                )
                .retry_after(5)
            })
    }

    fn counts(&self, authenticated: &Authenticated) -> laneway_runtime::tenants::TenantHandle {
        self.stream.metrics.tenant(
            authenticated.tenant.id.as_u128(),
            &authenticated.tenant.slug,
        )
    }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|v| v.to_str().ok());
    upgrade.is_some_and(|v| {
        v.split(',')
            .any(|p| p.trim().eq_ignore_ascii_case("websocket"))
    })
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accept = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    accept
        .flat_map(|v| v.split(','))
        .any(|p| p.trim().starts_with("text/event-stream"))
}
