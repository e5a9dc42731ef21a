//! What is said of each line, and of all.

use bytes::Bytes;
use laneway_runtime::Problem;
use laneway_tenancy::CredentialId;
use serde::Serialize;

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Totals {
    pub(super) lines: u64,
    pub(super) created: u64,
    pub(super) exists: u64,
    pub(super) invalid: u64,
    pub(super) limit_reached: u64,
}

pub(super) enum Outcome<'a> {
    Created(Option<Given<'a>>),
    Exists,
    Invalid(&'a str),
    OverLimit { most: u64 },
}

/// A token, shown this once.
#[derive(Serialize)]
pub(super) struct Given<'a> {
    pub(super) credential: CredentialId,
    pub(super) token: &'a str,
}

#[derive(Serialize)]
struct Said<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(flatten)]
    given: Option<Given<'a>>,
}

#[derive(Serialize)]
struct Progress {
    progress: Totals,
}

#[derive(Serialize)]
struct Summary {
    summary: Ended,
}

#[derive(Serialize)]
struct Ended {
    #[serde(flatten)]
    totals: Totals,
    /// Whether every line was looked at.
    complete: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<serde_json::Value>,
}

/// Lines that wait to be sent: those of one chunk.
#[derive(Default)]
pub(super) struct Report {
    totals: Totals,
    out: Vec<u8>,
}

impl Report {
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn line(&mut self, line: u64, id: Option<&str>, outcome: Outcome<'_>) {
        let totals = &mut self.totals;
        totals.lines += 1;
        let (outcome, count, why, given) = match outcome {
            Outcome::Created(given) => ("created", &mut totals.created, None, given),
            Outcome::Exists => ("exists", &mut totals.exists, None, None),
            Outcome::Invalid(why) => {
                let why = Some(why.to_owned());
                ("invalid", &mut totals.invalid, why, None)
            }
            Outcome::OverLimit { most } => {
                let why = Some(format!(
                    "limits.devices: the tenant has its {most} already."
                ));
                ("limit-reached", &mut totals.limit_reached, why, None)
            }
        };
        *count += 1;
        self.push(&Said {
            line,
            id,
            outcome,
            why,
            given,
        });
    }

    pub(super) fn progress(&mut self) {
        let progress = self.totals;
        self.push(&Progress { progress });
    }

    pub(super) fn summary(&mut self, problem: Option<Problem>) {
        let summary = Ended {
            totals: self.totals,
            complete: problem.is_none(),
            problem: problem.map(|problem| problem.to_json()),
        };
        self.push(&Summary { summary });
    }

    /// What has been said since the last call.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    fn push(&mut self, said: &impl Serialize) {
        // Ours can always be written.
        if serde_json::to_writer(&mut self.out, said).is_ok() {
            self.out.push(b'\n');
        }
    }
}
