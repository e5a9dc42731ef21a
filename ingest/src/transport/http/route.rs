//! Which request is meant.

use http::Method;

#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    Update,
    Start,
    Stop(String),
    Session(String),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    Path,
    Method { allow: &'static str },
}

impl Route {
    pub fn of(method: &Method, path: &str) -> Result<Route, Miss> {
        let (route, wanted, allow) = match path {
            "/location/update" => (Route::Update, Method::POST, "POST"),
            "/location/session/start" => (Route::Start, Method::POST, "POST"),
            path => {
                let rest = path.strip_prefix("/location/session/").ok_or(Miss::Path)?;
                let (session, stop) = rest
                    .strip_suffix("/stop")
                    .map_or((rest, false), |id| (id, true));
                if session.is_empty() || session.contains('/') {
                    return Err(Miss::Path);
                }
                let session = decoded(session);
                if stop {
                    (Route::Stop(session), Method::POST, "POST")
                } else {
                    (Route::Session(session), Method::GET, "GET")
                }
            }
        };
        if *method == wanted {
            Ok(route)
        } else {
            Err(Miss::Method { allow })
        }
    }
}

/// A path segment without its percent signs; an id that has others is not valid anyway.
pub fn decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(u8::is_ascii)
        {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[2..]);
            }
            None => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_lead_to_their_route_or_say_what_is_allowed() {
        assert_eq!(
            Route::of(&Method::POST, "/location/update"),
            Ok(Route::Update)
        );
        assert_eq!(
            Route::of(&Method::GET, "/location/update"),
            Err(Miss::Method { allow: "POST" })
        );
        assert_eq!(
            Route::of(&Method::POST, "/location/session/a%3A1/stop"),
            Ok(Route::Stop("a:1".into()))
        );
        assert_eq!(
            Route::of(&Method::POST, "/location/session/a%2/stop"),
            Ok(Route::Stop("a%2".into()))
        );
        assert_eq!(
            Route::of(&Method::GET, "/location/session/a"),
            Ok(Route::Session("a".into()))
        );
        assert_eq!(
            Route::of(&Method::PUT, "/location/session/a"),
            Err(Miss::Method { allow: "GET" })
        );
        for path in [
            "/",
            "/location/updates",
            "/location/session//stop",
            "/location/session/a/b/stop",
        ] {
            assert_eq!(Route::of(&Method::POST, path), Err(Miss::Path), "{path}");
        }
    }
}
