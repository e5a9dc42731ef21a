//! Versions of what is changed: `ETag` of an answer, `If-Match` of the change that follows.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::error::ApiError;

/// What a change was made for: any version where the header is not sent.
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    pub(crate) fn holds(&self, version: i64) -> bool {
        let tag = tag(version);
        self.0.as_ref().is_none_or(|wanted| {
            wanted
                .split(',')
                .map(str::trim)
                .any(|one| one == "*" || one == tag)
        })
    }

    fn of(headers: &HeaderMap) -> Self {
        let all: Vec<&str> = headers
            .get_all(IF_MATCH)
            .iter()
            // What cannot be read is no version of ours.
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        IfMatch((!all.is_empty()).then(|| all.join(",")))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(IfMatch::of(&parts.headers))
    }
}

/// The answer with the version of what it shows.
pub(crate) fn tagged(mut response: Response, version: i64) -> Response {
    if let Ok(value) = HeaderValue::try_from(tag(version)) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_for_the_versions_that_it_names() {
        let holds = |header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(IF_MATCH, HeaderValue::from_static(header));
            }
            IfMatch::of(&headers).holds(7)
        };
        assert!(holds(None) && holds(Some("*")) && holds(Some("\"7\"")));
        assert!(holds(Some("\"6\", \"7\"")));
        assert!(!holds(Some("\"6\"")) && !holds(Some("")) && !holds(Some("W/\"7\"")));
    }
}
