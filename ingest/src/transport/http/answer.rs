//! Answers' bodies, written by hand: a device waits for nothing else, thousands of times a second.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use laneway_runtime::http::Body;

use crate::accept::{Outcome, Prepared};

/// Where the kinds of problems are explained.
const TYPE_BASE: &str = "https://laneway.dev/problems/";

/// Status and body of a batch. 200 where anything is accepted, 422 where nothing is.
pub fn outcomes(prepared: &Prepared<'_>) -> (StatusCode, Bytes) {
    let accepted = prepared.accepted();
    if let (
        [
            Outcome {
                id: Some(id),
                result: Ok(None),
            },
        ],
        1,
    ) = (prepared.outcomes.as_slice(), accepted)
    {
        let parts = [
            r#"{"accepted":1,"refused":0,"results":[{"index":0,"id":""#,
            id,
            r#"","status":"accepted"}]}"#,
        ];
        return (StatusCode::OK, Bytes::from(parts.concat()));
    }
    let mut out = Vec::with_capacity(64 + prepared.outcomes.len() * 96);
    out.extend_from_slice(b"{\"accepted\":");
    number(&mut out, accepted);
    out.extend_from_slice(b",\"refused\":");
    number(&mut out, prepared.outcomes.len() - accepted);
    out.extend_from_slice(b",\"results\":[");
    for (index, outcome) in prepared.outcomes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item(&mut out, index, outcome);
    }
    out.extend_from_slice(b"]}");
    let status = if accepted > 0 {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    (status, Bytes::from(out))
}

fn item(out: &mut Vec<u8>, index: usize, outcome: &Outcome<'_>) {
    out.extend_from_slice(b"{\"index\":");
    number(out, index);
    if let Some(id) = &outcome.id {
        out.extend_from_slice(b",\"id\":");
        // An accepted id has no character that JSON escapes; a refused one may have any.
        if outcome.result.is_ok() {
            out.push(b'"');
            out.extend_from_slice(id.as_bytes());
            out.push(b'"');
        } else {
            text(out, crate::refusal::shown(id));
        }
    }
    match &outcome.result {
        Ok(note) => {
            out.extend_from_slice(b",\"status\":\"accepted\"");
            if let Some(note) = note {
                out.extend_from_slice(b",\"note\":");
                text(out, note.name());
            }
        }
        Err(refusal) => {
            out.extend_from_slice(b",\"status\":\"refused\",\"problem\":{\"type\":\"");
            out.extend_from_slice(TYPE_BASE.as_bytes());
            out.extend_from_slice(refusal.kind.name().as_bytes());
            out.extend_from_slice(b"\",\"title\":");
            text(out, refusal.kind.title());
            out.extend_from_slice(b",\"detail\":");
            text(out, &refusal.detail);
            out.push(b'}');
        }
    }
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, value: usize) {
    // Writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, &value);
}

fn text(out: &mut Vec<u8>, value: &str) {
    let _ = serde_json::to_writer(out, value);
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(
        Full::new(body.into())
            .map_err(|never| match never {})
            .boxed(),
    );
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Note;
    use crate::refusal::{Kind, Refusal};
    use laneway_log::{Records, Topic};
    use laneway_tenancy::quota::Admission;

    fn body(outcomes_given: Vec<Outcome<'static>>) -> (StatusCode, String) {
        let mut records = Records::new();
        for _ in outcomes_given.iter().filter(|o| o.result.is_ok()) {
            records.push(Topic::LocationUpdates, 0, 0, b"k", [], b"v");
        }
        let (status, body) = outcomes(&Prepared {
            admission: Admission::default(),
            records,
            outcomes: outcomes_given,
        });
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn one_fix_and_many_have_the_same_shape() {
        let ok = || Outcome {
            id: Some("a".into()),
            result: Ok(None),
        };
        let one = body(vec![ok()]);
        assert_eq!(one, (StatusCode::OK, r#"{"accepted":1,"refused":0,"results":[{"index":0,"id":"a","status":"accepted"}]}"#.into()));
        let noted = Outcome {
            id: Some("b".into()),
            result: Ok(Some(Note::AheadOfClock)),
        };
        let refused = Outcome {
            id: Some("\"/".into()),
            result: Err(Refusal::new(Kind::InvalidId, "no")),
        };
        let (status, text) = body(vec![ok(), noted, refused.clone()]);
        assert_eq!(status, StatusCode::OK);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["accepted"], 2);
        assert_eq!(value["results"][1]["note"], "ahead-of-clock");
        assert_eq!(value["results"][2]["id"], "\"/");
        assert_eq!(
            value["results"][2]["problem"]["type"],
            "https://laneway.dev/problems/invalid-id"
        );
        assert_eq!(body(vec![refused]).0, StatusCode::UNPROCESSABLE_ENTITY);
    }
}
