//! The sink in this process: real sockets, the embedded log, SQLite.

mod rig;

mod cases {
    mod delivery;
    mod history;
    mod isolation;
    mod projection;
    mod sse;
}
