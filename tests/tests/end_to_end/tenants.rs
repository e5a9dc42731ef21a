//! Tenants beside one another, as whole processes: who may do what, and a tenant's whole life.

mod access;
mod family;
mod life;
mod table;
mod things;
