//! How the role is, as its health endpoint has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Default)]
enum Phase {
    #[default]
    Starting,
    Running,
    /// It left the group because of an error, and joins anew.
    Rejoining(String),
    Stopped,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    waiting: BTreeMap<u32, String>,
}

/// Cheap to clone; outlives the role.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

impl Health {
    /// Why the role does not process what it should, or `Ok`.
    pub fn check(&self) -> Result<(), String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.phase {
            Phase::Starting => return Err("the processor has not joined its group yet".into()),
            Phase::Rejoining(error) => {
                return Err(format!("the processor joins its group anew after: {error}"));
            }
            Phase::Stopped => return Err("the processor has stopped".into()),
            Phase::Running => {}
        }
        match state.waiting.iter().next() {
            None => Ok(()),
            Some((partition, what)) => Err(format!(
                "{} partitions wait, partition {partition} for {what}",
                state.waiting.len()
            )),
        }
    }

    pub(crate) fn running(&self) {
        self.set(Phase::Running);
    }

    pub(crate) fn rejoining(&self, error: &str) {
        self.set(Phase::Rejoining(error.to_owned()));
    }

    pub(crate) fn stopped(&self) {
        self.set(Phase::Stopped);
    }

    pub(crate) fn waits(&self, partition: u32, what: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .insert(partition, what);
    }

    pub(crate) fn goes_on(&self, partition: u32) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .remove(&partition);
    }

    fn set(&self, phase: Phase) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.phase = phase;
        state.waiting.clear();
    }
}
