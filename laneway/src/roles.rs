//! Composition: what each role needs, and how it runs.

/// Which roles a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    All,
    Ingest,
    Processor,
    Sink,
    Control,
}
