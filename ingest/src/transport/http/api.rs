//! The API's description.
