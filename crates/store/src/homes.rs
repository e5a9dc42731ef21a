//! Tenants whose tables are in a shard, and what the main database has of them: what has to be in
//! one place for all tenants.
//!
//! - a *copy* of the tenant's row, of its slugs, and of its closure once that is over: where a
//!   slug or an id leads, and what the operator lists ([`mirror`]);
//! - *claims* on names that are unique over all tenants: slugs, live hosts, and hashes of secrets,
//!   which say whose a secret is ([`claims`]).
//!
//! Invariant: a name is claimed before the transaction in the tenant's own database that takes it,
//! and released after the one that gives it back. So a name is never two tenants'; a claim with
//! nothing behind it leads nowhere, and is released when it is old ([`sweep`]). The copies follow
//! the tenant's own row, at once and, should that fail, with the news of the change
//! ([`crate::Outbox`]); nothing is judged by them but who is asked, and what a shard may say of its
//! tenants ([`vet`]).

mod claims;
mod mirror;
mod sweep;
mod vet;

pub use sweep::{Claims, Swept};

pub(crate) use claims::{
    Claim, NEVER, claim_host, claim_slugs, insert_secrets, owner_of_secret, release_host,
    release_slugs,
};
