//! What has to hold within a time: apart from the other tests, which would take the processor
//! from it.

mod news;
mod rates;
mod store_outage;
