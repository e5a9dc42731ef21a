//! Notices of the process itself: that it serves, how it is, that it stops.

use std::sync::Arc;
use std::time::Duration;

use laneway_notices::{Announcer, Kind, Saying, Severity};
use laneway_runtime::health::{Report, Status};
use laneway_runtime::{Health, Lifecycle};
use xxhash_rust::xxh3::xxh3_64;

use super::Role;

const EVERY: Duration = Duration::from_secs(2);

/// Gives what is announced, and announces how the process is.
pub fn spawn(
    role: Role,
    instance: &str,
    announcer: &Arc<Announcer>,
    health: &Health,
    lifecycle: &Lifecycle,
) {
    let (giving, lives) = (announcer.clone(), lifecycle.clone());
    lifecycle.spawn("notices", async move { Ok(giving.run(lives).await?) });
    let process = Process {
        role: role.name(),
        // Tells processes apart, and does not tell tenants what machines are called.
        process: format!("{:08x}", xxh3_64(instance.as_bytes()) as u32),
    };
    let (announcer, health) = (announcer.clone(), health.clone());
    let draining = lifecycle.draining();
    lifecycle.spawn("notices of health", async move {
        tokio::pin!(draining);
        let mut seen = Seen::default();
        loop {
            if let Some(saying) = seen.look(&process, &health.report()) {
                announcer.announce(saying);
            }
            tokio::select! {
                () = &mut draining => break,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        announcer.announce(process.deployed("stops"));
        Ok(())
    });
}

struct Process {
    role: &'static str,
    process: String,
}

impl Process {
    fn deployed(&self, does: &str) -> Saying {
        let title = format!("{} {} {does}", self.role, env!("CARGO_PKG_VERSION"));
        self.says(Kind::Deployment, Severity::Info, title)
            .with("version", env!("CARGO_PKG_VERSION"))
    }

    fn is(&self, report: &Report) -> Saying {
        let (severity, how) = match report.status {
            Status::Ok => (Severity::Info, "works"),
            Status::Degraded => (Severity::Warning, "works worse than it should"),
            Status::Failing => (Severity::Critical, "does not work"),
        };
        let bad = report.checks.iter().filter(|c| c.status != Status::Ok);
        let bad: Vec<&str> = bad.map(|check| check.name).collect();
        let title = format!("{} {how}", self.role);
        let saying = self.says(Kind::Health, severity, title);
        if bad.is_empty() {
            saying
        } else {
            saying.with("checks", bad.join(","))
        }
    }

    fn says(&self, kind: Kind, severity: Severity, title: String) -> Saying {
        Saying::new(kind, severity, title)
            .with("role", self.role)
            .with("process", &self.process)
    }
}

/// How the process was when it was looked at.
#[derive(Default)]
struct Seen {
    last: Option<Status>,
    /// `None` until it works for the first time.
    said: Option<Status>,
}

impl Seen {
    /// What there is to say: that it works for the first time, and later what has changed and is
    /// the same at two looks.
    fn look(&mut self, process: &Process, report: &Report) -> Option<Saying> {
        let now = report.status;
        let settled = self.last.replace(now) == Some(now);
        match self.said {
            None if now == Status::Failing => None,
            None => {
                self.said = Some(Status::Ok);
                Some(process.deployed("serves"))
            }
            Some(said) if settled && said != now => {
                self.said = Some(now);
                Some(process.is(report))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use laneway_runtime::health::CheckReport;

    use super::*;

    fn report(status: Status) -> Report {
        let check = |name, status| CheckReport {
            name,
            status,
            reason: Some("10.1.2.3 is out of reach".to_owned()),
        };
        Report {
            status,
            checks: vec![check("store", status), check("log", Status::Ok)],
        }
    }

    #[test]
    fn a_change_is_said_once_it_has_settled_and_without_reasons() {
        let process = Process {
            role: "sink",
            process: "0a".to_owned(),
        };
        let mut seen = Seen::default();
        let mut look = |status| {
            let saying = seen.look(&process, &report(status))?;
            assert!(!format!("{saying:?}").contains("10.1.2.3"));
            Some((
                saying.kind,
                saying.title,
                saying.details.get("checks").cloned(),
            ))
        };
        use Status::{Degraded, Failing, Ok};
        assert_eq!(look(Failing), None);
        let (kind, title, _) = look(Ok).unwrap();
        assert_eq!(kind, Kind::Deployment);
        assert!(title.starts_with("sink ") && title.ends_with(" serves"));
        for status in [Ok, Failing, Ok, Degraded, Ok] {
            assert_eq!(look(status), None, "{status:?} comes and goes");
        }
        assert_eq!(look(Degraded), None);
        let (kind, title, checks) = look(Degraded).unwrap();
        assert_eq!(kind, Kind::Health);
        assert_eq!(title, "sink works worse than it should");
        assert_eq!(checks.as_deref(), Some("store"));
        assert_eq!(look(Degraded), None);
        look(Ok);
        let (_, title, checks) = look(Ok).unwrap();
        assert_eq!((title.as_str(), checks), ("sink works", None));
    }
}
