//! What a request to `/stream` says: credentials, filter and start.

use http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use laneway_runtime::Problem;
use laneway_tenancy::{GrantId, IdError};

use super::protocol::{Subscribe, filter};
use super::start::Start;

/// The subprotocol that clients may ask for, and must when they send their key beside it.
pub const PROTOCOL: &str = "laneway.v1";

/// The credentials, as an `Authorization` header has them. Browsers cannot set headers on a
/// websocket, so it may be the subprotocol `bearer.<key>` instead. Never the URL: URLs are logged.
pub fn authorization(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(header) = headers.get(AUTHORIZATION) {
        return Some(header.as_bytes().to_vec());
    }
    let key = protocols(headers).find_map(|p| p.strip_prefix("bearer."))?;
    Some(format!("Bearer {key}").into_bytes())
}

pub fn asks_for_protocol(headers: &HeaderMap) -> bool {
    protocols(headers).any(|p| p == PROTOCOL)
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
}

/// What a URL asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Asked {
    /// By which a partner reads.
    pub grant: Option<GrantId>,
    /// `None` where it says nothing of it.
    pub subscribe: Option<Subscribe>,
}

/// `grant`, and `event_types`, `devices` (comma-separated) and `from`.
pub fn query(query: Option<&str>) -> Result<Asked, Problem> {
    let (mut types, mut devices, mut from, mut grant) = (None, None, None, None);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value)?;
        let slot = match name {
            "event_types" => &mut types,
            "devices" => &mut devices,
            "from" => &mut from,
            "grant" => &mut grant,
            "access_token" | "token" | "key" => {
                return Err(Problem::bad_request(
                    "Send the key in the Authorization header or as the subprotocol `bearer.<key>`: URLs end up in logs.",
                ));
            }
            other => {
                return Err(Problem::bad_request(format!(
                    "The query has {other:?}; it may have `event_types`, `devices`, `from` and `grant`."
                )));
            }
        };
        *slot = Some(value);
    }
    let grant = grant
        .map(|grant| grant.parse())
        .transpose()
        .map_err(|e: IdError| Problem::bad_request(format!("`grant`: {e}.")))?;
    if types.is_none() && devices.is_none() && from.is_none() {
        return Ok(Asked {
            grant,
            subscribe: None,
        });
    }
    let types = types.unwrap_or_default();
    let devices = devices.unwrap_or_default();
    let filter = filter(list(&types), list(&devices).map(str::to_owned).collect())?;
    let start = from.map_or(Ok(Start::Live), |from| Start::parse(&from))?;
    Ok(Asked {
        grant,
        subscribe: Some(Subscribe { filter, start }),
    })
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn percent_decode(text: &str) -> Result<String, Problem> {
    let refused = || Problem::bad_request("The query is not percent-encoded UTF-8.");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'%' => {
                let (hex, after) = rest.split_first_chunk::<2>().ok_or_else(refused)?;
                let hex = std::str::from_utf8(hex).map_err(|_| refused())?;
                bytes.push(u8::from_str_radix(hex, 16).map_err(|_| refused())?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use laneway_schemas::EventType;

    use super::*;

    #[test]
    fn a_key_is_taken_from_the_header_or_the_subprotocol_and_refused_in_the_url() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), None);
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("laneway.v1, bearer.abc"),
        );
        assert_eq!(authorization(&headers).as_deref(), Some(&b"Bearer abc"[..]));
        assert!(asks_for_protocol(&headers));
        assert!(query(Some("access_token=abc")).is_err());
    }

    #[test]
    fn one_url_says_filter_and_start() {
        assert_eq!(query(None).unwrap(), Asked::default());
        let id = GrantId::from_u128(7);
        let asked = query(Some(&format!("grant={id}"))).unwrap();
        assert_eq!((asked.grant, asked.subscribe), (Some(id), None));
        assert!(query(Some("grant=7")).is_err());
        let asked = query(Some(
            "event_types=laneway.position&devices=a%2Cb&from=earliest",
        ));
        let subscribe = asked.unwrap().subscribe.unwrap();
        assert_eq!(subscribe.start, Start::Earliest);
        assert!(subscribe.filter.wants(EventType::Position, "b"));
        assert!(!subscribe.filter.wants(EventType::Position, "c"));
        assert!(query(Some("from=%zz")).is_err());
        assert!(query(Some("form=live")).is_err());
    }
}
