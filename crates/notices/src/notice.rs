//! What a notice says.

use std::collections::BTreeMap;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process was started or is being stopped; a new version.
    Deployment,
    /// How a process is.
    Health,
    /// Quotas, of all tenants together.
    Quota,
    /// Destinations that are not delivered to for the moment, of all tenants together.
    Breaker,
    /// Work that the operator plans or does.
    Maintenance,
    /// Anything else.
    Information,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Deployment,
        Kind::Health,
        Kind::Quota,
        Kind::Breaker,
        Kind::Maintenance,
        Kind::Information,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Deployment => "deployment",
            Kind::Health => "health",
            Kind::Quota => "quota",
            Kind::Breaker => "breaker",
            Kind::Maintenance => "maintenance",
            Kind::Information => "information",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// A notice that is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    pub kind: Kind,
    pub severity: Severity,
    /// In a line.
    pub title: String,
    pub text: Option<String>,
    /// For programs.
    pub details: BTreeMap<String, String>,
}

impl Saying {
    pub fn new(kind: Kind, severity: Severity, title: impl Into<String>) -> Self {
        Saying {
            kind,
            severity,
            title: title.into(),
            text: None,
            details: BTreeMap::new(),
        }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}
