//! Tenants beside one another, as whole processes: who may do what, a tenant's whole life, and how
//! soon news of them is everywhere.

mod access;
mod family;
mod life;
mod news;
mod table;
mod things;
