//! What a process says of its own state.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

/// What a check finds. Reasons say what is wrong and what it keeps from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckState {
    Ok,
    /// Works, but worse than it should.
    Degraded(String),
    /// Does not work: send requests elsewhere.
    Failing(String),
}

/// Answers from what is known, without waiting.
pub type Check = Arc<dyn Fn() -> CheckState + Send + Sync>;

/// The checks of a process, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<Vec<(&'static str, Check)>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Degraded,
    Failing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the checks.
    pub status: Status,
    pub checks: Vec<CheckReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub name: &'static str,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, name: &'static str, check: impl Fn() -> CheckState + Send + Sync + 'static) {
        let mut checks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        checks.push((name, Arc::new(check)));
    }

    pub fn report(&self) -> Report {
        let checks = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let checks: Vec<CheckReport> = checks
            .into_iter()
            .map(|(name, check)| {
                let (status, reason) = match check() {
                    CheckState::Ok => (Status::Ok, None),
                    CheckState::Degraded(reason) => (Status::Degraded, Some(reason)),
                    CheckState::Failing(reason) => (Status::Failing, Some(reason)),
                };
                CheckReport {
                    name,
                    status,
                    reason,
                }
            })
            .collect();
        let status = checks
            .iter()
            .map(|check| check.status)
            .max()
            .unwrap_or(Status::Ok);
        Report { status, checks }
    }
}

impl Report {
    /// For those who are not the operator: without the reasons, which tell of the inside.
    pub fn without_reasons(mut self) -> Self {
        for check in &mut self.checks {
            check.reason = None;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_as_bad_as_its_worst_check() {
        let health = Health::new();
        assert_eq!(health.report().status, Status::Ok);
        health.add("log", || CheckState::Ok);
        health.add("directory", || CheckState::Degraded("behind".into()));
        assert_eq!(health.report().status, Status::Degraded);
        health.add("store", || {
            CheckState::Failing("the database is out of reach".into())
        });
        let report = health.report();
        assert_eq!(report.status, Status::Failing);
        assert_eq!(
            report.checks[2].reason.as_deref(),
            Some("the database is out of reach")
        );
        assert!(
            report
                .without_reasons()
                .checks
                .iter()
                .all(|check| check.reason.is_none())
        );
    }
}
