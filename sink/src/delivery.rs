//! Delivery to tenants' destinations, whatever their kind.
//!
//! The unit is (destination, lane): a [`target::Target`], in the [`lane`] worker of its
//! partition, which the group's member that owns the partition runs. All targets of a lane that
//! are not behind ride at its head, which is read and encoded once; one that is behind reads by
//! itself. Cursors and dead letters are committed with the group's offsets, so that an old owner
//! is fenced. What the lanes of a destination know together of its health goes over
//! [`signals`].

mod backoff;
mod breaker;
mod cursor;
mod destination;
mod engine;
mod lane;
mod letters;
mod queue;
mod reading;
mod redrives;
mod restore;
mod shared;
mod signals;
mod target;

pub use destination::{
    Delivery, Destination, DestinationFactory, Event, EventBatch, OpenError, Outcome,
    StoreDestinations,
};
pub use engine::Deliveries;
pub use shared::DeliveryDeps;
