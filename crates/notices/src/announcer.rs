//! Gives notices: at once and durably for who waits for it, or from a queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_directory::{Directory, TenantEntry};
use laneway_log::{Log, LogError};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::{Codecs, EncodeError, EventType, Notice};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{Claim, Random, new_id};
use tokio::sync::Notify;

use crate::whole::WholeTenantEvent;
use crate::{RUNTIME_SLUG, Saying};

/// Notices that wait for the log; of more, the oldest are given up.
const MOST: usize = 64;
/// After trouble.
const PAUSE: Duration = Duration::from_secs(1);

pub struct AnnouncerDeps {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub authority: RoleAuthority,
    /// Which role speaks: part of the CloudEvents `source`.
    pub role: &'static str,
}

/// Why a notice is not given.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    #[error("the namespace of notices is not known yet")]
    NotYet,
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A notice that is in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub event_id: String,
    /// In microseconds.
    pub noticed_at: i64,
}

/// A notice with its identity, which it keeps however often it is tried.
struct Waiting {
    entity_id: String,
    noticed_at: i64,
    saying: Saying,
}

/// One a process.
pub struct Announcer {
    deps: AnnouncerDeps,
    waiting: Mutex<VecDeque<Waiting>>,
    more: Notify,
}

impl Announcer {
    pub fn new(deps: AnnouncerDeps) -> Arc<Self> {
        Arc::new(Announcer {
            deps,
            waiting: Mutex::default(),
            more: Notify::new(),
        })
    }

    /// Gives it as soon as the log takes it. Does not wait.
    pub fn announce(&self, saying: Saying) {
        let one = self.identified(saying);
        let mut waiting = self.waiting();
        if waiting.len() == MOST {
            metrics::counter!("laneway_notices_lost_total").increment(1);
            if let Some(lost) = waiting.pop_front() {
                tracing::warn!(title = lost.saying.title, "a notice is given up");
            }
        }
        waiting.push_back(one);
        drop(waiting);
        self.more.notify_one();
    }

    /// Gives it now, and returns when it is durable.
    pub async fn say(&self, saying: Saying) -> Result<Said, NoticeError> {
        let one = self.identified(saying);
        self.append(&one).await
    }

    /// Gives what is announced, in that order, until the drain. Trouble is retried.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> Result<(), NoticeError> {
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            let trouble = self.give().await;
            tokio::select! {
                () = &mut draining => break,
                () = self.more.notified(), if !trouble => {}
                () = tokio::time::sleep(PAUSE), if trouble => {}
            }
        }
        // What is said of the end itself.
        self.give().await;
        Ok(())
    }

    /// All that wait; whether there was trouble.
    async fn give(&self) -> bool {
        loop {
            let Some(one) = self.waiting().pop_front() else {
                return false;
            };
            match self.append(&one).await {
                Ok(_) => {}
                Err(NoticeError::Encode(error)) => {
                    tracing::error!(%error, "a notice cannot be encoded; it is given up");
                }
                Err(error) => {
                    tracing::debug!(%error, "a notice is tried again");
                    self.waiting().push_front(one);
                    return true;
                }
            }
        }
    }

    async fn append(&self, one: &Waiting) -> Result<Said, NoticeError> {
        let deps = &self.deps;
        let runtime = self.runtime().ok_or(NoticeError::NotYet)?;
        let scope = deps.authority.scope(runtime.id);
        let source = format!("/{RUNTIME_SLUG}/{}", deps.role);
        let event = WholeTenantEvent {
            scope: &scope,
            event_type: EventType::Notice,
            entity_id: &one.entity_id,
            source: &source,
            at: one.noticed_at,
        };
        let notice = Notice {
            entity_id: one.entity_id.clone(),
            revision: 1,
            tenant_id: runtime.id.to_string(),
            kind: one.saying.kind.name().to_owned(),
            severity: one.saying.severity.name().to_owned(),
            title: one.saying.title.clone(),
            text: one.saying.text.clone(),
            details: one.saying.details.clone(),
            noticed_at: one.noticed_at,
        };
        let lane = WholeTenantEvent::lane(&runtime);
        let records = event.record(&deps.codecs, lane, &notice)?;
        deps.log.append(records).await?;
        Ok(Said {
            event_id: event.id(),
            noticed_at: one.noticed_at,
        })
    }

    fn runtime(&self) -> Option<Arc<TenantEntry>> {
        let directory = &self.deps.directory;
        match directory.hosts().of_slug(RUNTIME_SLUG) {
            Claim::Tenant(id) => directory.tenant(id),
            Claim::Nothing | Claim::Unknown | Claim::Contradiction => None,
        }
    }

    fn identified(&self, saying: Saying) -> Waiting {
        let noticed_at = self.deps.clock.now_us();
        Waiting {
            entity_id: format!("{:032x}", new_id(&*self.deps.random, noticed_at)),
            noticed_at,
            saying,
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
