//! Hosts at the door of every role: what the host and the path of a request name, how that is
//! held against its credentials, from where these are taken and whose pages may read the answers,
//! and the certificates that tenants' hosts show.

mod admit;
pub mod certificate;
mod certificates;
mod cors;
mod moved;
mod names;

pub use admit::{Denied, admit, from_elsewhere, lets_in, of_authentication};
pub use certificates::Certificates;
pub use moved::Moved;
pub use names::{Named, Names};
