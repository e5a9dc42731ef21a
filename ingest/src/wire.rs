//! What devices send, as JSON, read in one pass into borrowed values.
//!
//! A value of the wrong type spoils its own item, never the items beside it; only a body
//! that is no JSON at all is refused whole. Any transport that carries JSON reads it here.

mod attributes;
mod batch;
mod finite;
mod fix;
mod session;
mod time;
mod value;

pub use attributes::Attributes;
pub use batch::{Batch, BatchError};
pub use finite::quote_non_finite;
pub use fix::{Fix, Item};
pub use session::{SessionStart, SessionStop};
pub(crate) use time::rfc3339;
pub use time::{MAX_US, parse_rfc3339_us};
