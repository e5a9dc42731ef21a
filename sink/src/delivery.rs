//! Delivery to tenants' destinations, whatever their kind.
//!
//! The unit is (destination, lane): a [`target::Target`], in the [`lane`] worker of its
//! partition, which the group's member that owns the partition runs. All targets of a lane that
//! are not behind ride at its head, which is read and encoded once; one that is behind reads by
//! itself. Cursors are committed with the group's offsets, so that an old owner is fenced.

mod backoff;
mod breaker;
mod cursor;
mod destination;
mod engine;
mod lane;
mod queue;
mod reading;
mod restore;
mod shared;
mod target;

pub use destination::{
    Destination, DestinationFactory, Event, OpenError, Outcome, StoreDestinations,
};
pub use engine::Deliveries;
pub use shared::DeliveryDeps;
