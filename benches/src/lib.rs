//! laneway-benches
