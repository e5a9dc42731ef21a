//! laneway-tests
