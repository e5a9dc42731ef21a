//! The sink in this process: real sockets, the embedded log, SQLite.

mod rig;

mod cases {
    mod dead_letters;
    mod delivery;
    mod destinations;
    mod health;
    mod history;
    mod hosts;
    mod isolation;
    mod limits;
    mod metering;
    mod namespaces;
    mod partners;
    mod projection;
    mod revocation;
    mod sse;
    mod tls;
}
