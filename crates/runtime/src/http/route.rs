//! Several services behind one address, told apart by path.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use super::{Body, Peer, Service};
use crate::Problem;

/// Services by path prefix. The longest prefix that matches wins; where none does, the answer
/// is 404.
#[derive(Default)]
pub struct Routes(Vec<(&'static str, Arc<dyn Service>)>);

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// A prefix matches whole segments: `/location` takes `/location/update`, not `/locations`.
    /// `/` takes everything.
    pub fn route(mut self, prefix: &'static str, service: Arc<dyn Service>) -> Self {
        self.0.push((prefix, service));
        self.0
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self
    }

    fn find(&self, path: &str) -> Option<&Arc<dyn Service>> {
        self.0
            .iter()
            .find(|(prefix, _)| matches(prefix, path))
            .map(|(_, service)| service)
    }
}

fn matches(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Service for Routes {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        match self.find(request.uri().path()) {
            Some(service) => service.call(request, peer),
            None => Box::pin(std::future::ready(Problem::not_found().into_response())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Service for Nothing {
        fn call(&self, _: Request<Incoming>, _: Peer) -> BoxFuture<'_, Response<Body>> {
            Box::pin(std::future::ready(Problem::not_found().into_response()))
        }
    }

    #[test]
    fn a_path_goes_to_the_longest_prefix_of_whole_segments() {
        let routes = ["/", "/location", "/location/history"]
            .into_iter()
            .fold(Routes::new(), |routes, prefix| {
                routes.route(prefix, Arc::new(Nothing))
            });
        let prefix = |path: &str| {
            routes
                .0
                .iter()
                .find(|(p, _)| matches(p, path))
                .map(|(p, _)| *p)
        };
        assert_eq!(prefix("/location"), Some("/location"));
        assert_eq!(prefix("/location/update"), Some("/location"));
        assert_eq!(prefix("/location/history/7"), Some("/location/history"));
        assert_eq!(prefix("/locations"), Some("/"));
        assert_eq!(prefix("/"), Some("/"));
        assert!(
            Routes::new()
                .route("/stream", Arc::new(Nothing))
                .find("/streams")
                .is_none()
        );
    }
}
