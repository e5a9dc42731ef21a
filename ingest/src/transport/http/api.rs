//! The API's description: bodies as clients see them. What reads and writes the real ones is
//! `wire` and `answer`; the tests hold the two together.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

/// The description, as `docs/openapi/ingest.json` has it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Laneway ingest", description = DESCRIPTION),
    paths(
        super::update::update,
        super::session::start,
        super::session::stop,
        super::session::find
    ),
    components(schemas(Fix, Fixes, Update, Outcomes, SessionStart, SessionStop, Session, Problem)),
    modifiers(&Credentials)
)]
struct Api;

const DESCRIPTION: &str = "Takes fixes and sessions of devices. What is confirmed is durable. A \
request that is not confirmed may be sent again: fixes carry ids, and starts and stops are \
idempotent.\n\nBodies are JSON (`Content-Type: application/json`, or none), as they are or with \
`Content-Encoding: gzip` or `zstd`. The tenant follows from the credentials. Refusals of a whole \
request are problem details (RFC 9457); `type` ends in the kind that is named with each response.";

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, scheme) in [
            ("token", HttpAuthScheme::Bearer),
            ("password", HttpAuthScheme::Basic),
        ] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

/// RFC 3339 with up to microseconds (finer digits are cut off), or milliseconds since 1970; of
/// the years 1970 to 9999.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Time {
    Text(String),
    Milliseconds(i64),
}

/// The value of an attribute: at most 256 bytes as text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum AttributeValue {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// Where a device was. A field that is not listed is refused, as is one given twice; `null` is
/// as good as absent.
#[derive(Serialize, ToSchema)]
pub struct Fix {
    /// 1 to 64 of A–Z a–z 0–9 . _ : - beginning with a letter or a digit. Without one, the fix
    /// gets a hash of the device and `recorded_at`.
    id: Option<String>,
    /// Event time, by the device's clock. More than the tenant's bound (5 minutes, unless it is
    /// set) ahead of the server's it is accepted with the note `ahead-of-clock`.
    recorded_at: Time,
    /// Degrees north, WGS 84; also as `latitude`.
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    /// Degrees east, WGS 84; also as `longitude`.
    #[schema(minimum = -180, maximum = 180)]
    lon: f64,
    /// Metres above the ellipsoid.
    #[schema(minimum = -10000000, maximum = 10000000)]
    altitude: Option<f64>,
    /// Radius of 68 % confidence, in metres.
    #[schema(minimum = 0, maximum = 100000000)]
    accuracy: Option<f64>,
    /// Over ground, in metres per second.
    #[schema(minimum = 0, maximum = 100000)]
    speed: Option<f64>,
    /// Degrees clockwise from true north.
    #[schema(minimum = 0, maximum = 360)]
    heading: Option<f64>,
    /// Charge, from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    battery: Option<f64>,
    /// At most 32, with keys of 1 to 64 bytes.
    attributes: Option<BTreeMap<String, AttributeValue>>,
    /// The session it belongs to. A fix recorded after the session's stop is kept without it,
    /// with the note `after-session-stop` where the stop is known.
    session_id: Option<String>,
    /// Whose it is: needed with a key, its own or none with a device's credentials.
    device_id: Option<String>,
    /// The credentials' own tenant, by id or slug. Any other one refuses the whole request.
    tenant: Option<String>,
}

/// Several fixes, at most 1,000.
#[derive(Serialize, ToSchema)]
pub struct Fixes {
    #[schema(min_items = 1, max_items = 1000)]
    fixes: Vec<Fix>,
    /// The credentials' own tenant, by id or slug. Any other one refuses the whole request.
    tenant: Option<String>,
}

/// One fix, an array of at most 1,000, or an object that holds one.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Update {
    One(Box<Fix>),
    Array(Vec<Fix>),
    Object(Fixes),
}

/// What became of each fix, in the order in which they were sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct Outcomes {
    /// How many were accepted; they are durable.
    accepted: u32,
    refused: u32,
    results: Vec<Outcome>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct Outcome {
    /// Its place in the request, from 0.
    index: u32,
    /// The fix's id, given or derived; absent where a refused one has none.
    id: Option<String>,
    status: OutcomeStatus,
    note: Option<OutcomeNote>,
    /// Why it was refused.
    problem: Option<ItemProblem>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OutcomeStatus {
    Accepted,
    Refused,
}

/// Of an accepted fix.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum OutcomeNote {
    AfterSessionStop,
    AheadOfClock,
}

/// Why a fix was refused. `type` ends in one of `not-an-object`, `missing-field`,
/// `unknown-field`, `duplicate-field`, `wrong-type`, `not-finite`, `out-of-range`, `invalid-id`,
/// `invalid-time`, `attributes-too-large`, `device-mismatch`, `unknown-device`,
/// `record-too-large`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct ItemProblem {
    r#type: String,
    title: String,
    /// What was found where, and what to send instead.
    detail: String,
}

/// Everything may be left out, and the body with it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct SessionStart {
    /// Like a fix's id; a new one where it is left out.
    session_id: Option<String>,
    /// Event time; the time of receipt where it is left out.
    started_at: Option<Time>,
    /// At most 32, with keys of 1 to 64 bytes.
    attributes: Option<BTreeMap<String, AttributeValue>>,
    /// Whose it is: needed with a key, its own or none with a device's credentials.
    device_id: Option<String>,
    /// The credentials' own tenant, by id or slug.
    tenant: Option<String>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct SessionStarted {
    session_id: String,
    /// RFC 3339.
    started_at: String,
}

/// Everything may be left out, and the body with it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct SessionStop {
    /// Event time; the time of receipt where it is left out.
    stopped_at: Option<Time>,
    /// At most 32, with keys of 1 to 64 bytes.
    attributes: Option<BTreeMap<String, AttributeValue>>,
    /// Whose it is: needed with a key, its own or none with a device's credentials.
    device_id: Option<String>,
    /// The credentials' own tenant, by id or slug.
    tenant: Option<String>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct SessionStopped {
    session_id: String,
    /// RFC 3339.
    stopped_at: String,
}

/// What is known of a session. Times are RFC 3339.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct Session {
    session_id: String,
    device_id: String,
    state: SessionState,
    started_at: Option<String>,
    stopped_at: Option<String>,
    last_fix_at: Option<String>,
    /// Fixes recorded up to its stop.
    fixes: i64,
    /// Haversine distance along its fixes, in metres.
    distance_m: f64,
    /// From its start (or first fix) to its stop (or last fix), in seconds.
    duration_s: f64,
    attributes: BTreeMap<String, String>,
    revision: i64,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum SessionState {
    Started,
    Updated,
    Stopped,
}

/// Why a request was refused whole (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
pub struct Problem {
    /// Ends in the kind.
    r#type: String,
    title: String,
    status: u16,
    detail: Option<String>,
}
