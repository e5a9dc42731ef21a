//! The targets of a lane, as the directory has them.

use std::sync::Arc;
use std::time::Duration;

use laneway_directory::DestinationEntry;
use laneway_log::Topic;
use laneway_schemas::sink::{cursor_key, dead_letter_key, health_key, redrive_key};
use laneway_tenancy::control::{DestinationState, TenantState};
use laneway_tenancy::{DestinationId, Placement, TenantId};
use tokio::time::Instant;

use super::{Lane, Opened};
use crate::delivery::cursor::Cursor;
use crate::delivery::destination::OpenError;
use crate::delivery::letters::Letters;
use crate::delivery::target::Target;
use crate::event::{Filter, TenantKey};

/// How long to wait before settings that could not be read are read again.
const REOPEN: Duration = Duration::from_secs(5);

impl Lane {
    /// Makes the targets of a tenant, or of all, what the directory says.
    pub(super) fn refresh(&mut self, tenant: Option<TenantId>) {
        let directory = Arc::clone(&self.shared.deps.directory);
        let concerned = |of: TenantId| tenant.is_none_or(|t| t == of);
        let entries: Vec<_> = directory
            .destinations()
            .into_iter()
            .filter(|e| concerned(e.tenant))
            .collect();
        let gone: Vec<DestinationId> = self
            .targets
            .values()
            .filter(|t| concerned(t.entry.tenant) && !entries.iter().any(|e| e.id == t.entry.id))
            .map(|t| t.entry.id)
            .collect();
        for id in gone {
            self.remove(id);
        }
        for entry in entries {
            let Some(tenant) = directory.tenant(entry.tenant) else {
                continue;
            };
            if !tenant.body.placement.allows(self.partition) {
                continue;
            }
            let active = entry.body.state == DestinationState::Active
                && tenant.body.state == TenantState::Active;
            let counts = self
                .shared
                .deps
                .metrics
                .tenant(entry.tenant.as_u128(), &tenant.body.slug);
            self.update(entry, &tenant.body.placement, active, counts);
        }
    }

    fn update(
        &mut self,
        entry: Arc<DestinationEntry>,
        placement: &Placement,
        active: bool,
        counts: laneway_runtime::tenants::TenantHandle,
    ) {
        let id = entry.id;
        let Some(filter) = filter(&entry) else { return };
        match self.targets.get_mut(&id) {
            Some(target) if target.entry.version == entry.version && target.active == active => {
                return;
            }
            Some(target) if target.active && active => {
                target.entry = entry;
                target.filter = filter;
                target.destination = None;
            }
            // It begins a new life from its cursor, whether it stops or goes on.
            Some(target) => {
                let record = target.cursor.record(
                    entry.tenant,
                    id,
                    placement.generation,
                    self.partition,
                    false,
                );
                let written = target.written.take();
                if let Some(letters) = self.letters.get_mut(&id) {
                    letters.reset();
                }
                let cursor = Cursor::restore(&record, 0);
                let placed = target.placed;
                let mut target = self.target(entry, placement, filter, cursor, counts);
                target.written = written;
                target.active = active;
                target.placed = placed;
                self.targets.insert(id, target);
            }
            None => {
                self.by_tenant
                    .entry(TenantKey::of(entry.tenant))
                    .or_default()
                    .push(id);
                let restored = self.cursors.remove(&id);
                let cursor = restored
                    .as_ref()
                    .map(|record| Cursor::restore(record, self.committed));
                let mut target = self.target(entry, placement, filter, Cursor::default(), counts);
                target.written = restored;
                target.active = active;
                match cursor {
                    Some(cursor) => target.place(cursor, self.head),
                    // What the log does not know is new: where it begins is asked as it opens.
                    None => target.placed = false,
                }
                self.targets.insert(id, target);
            }
        }
        if active {
            self.open(id);
        }
    }

    fn target(
        &mut self,
        entry: Arc<DestinationEntry>,
        placement: &Placement,
        filter: Filter,
        cursor: Cursor,
        counts: laneway_runtime::tenants::TenantHandle,
    ) -> Target {
        self.serial += 1;
        let settings = &self.shared.deps.settings;
        let bounds = (settings.pending_events, Arc::clone(&self.shared.budget));
        let concurrency = settings.concurrency.div_ceil(placement.lanes.len().max(1));
        let breaker = self.shared.signals.breaker(entry.id);
        let now = Instant::now();
        Target::new(
            entry,
            placement.generation,
            filter,
            cursor,
            breaker,
            counts,
            bounds,
            concurrency,
            self.serial,
            now,
        )
    }

    fn remove(&mut self, id: DestinationId) {
        let Some(target) = self.targets.remove(&id) else {
            return;
        };
        let tenant = TenantKey::of(target.entry.tenant);
        if let Some(ids) = self.by_tenant.get_mut(&tenant) {
            ids.retain(|i| *i != id);
            if ids.is_empty() {
                self.by_tenant.remove(&tenant);
            }
        }
        let delivered = target.cursor.delivered();
        if target.written.is_some() || delivered > 0 {
            let key = cursor_key(target.entry.tenant, id, self.partition);
            self.farewells.push((key, delivered));
        }
        self.forget(target.entry.tenant, id);
    }

    /// Deletes what the log has of destinations that were deleted while no sink ran.
    pub(super) fn forget_orphans(&mut self) {
        let directory = Arc::clone(&self.shared.deps.directory);
        let mut orphans = Vec::new();
        for (id, record) in &self.cursors {
            if let Ok(tenant) = record.tenant_id.parse::<TenantId>()
                && directory.destination(tenant, *id).is_none()
            {
                orphans.push((tenant, *id));
            }
        }
        for (tenant, id) in orphans {
            self.cursors.remove(&id);
            self.forget_cursor(tenant, id);
            self.forget(tenant, id);
        }
    }

    fn forget_cursor(&mut self, tenant: TenantId, id: DestinationId) {
        let key = cursor_key(tenant, id, self.partition);
        self.unwritten.push((Topic::SinkCursors, key, None));
    }

    fn forget(&mut self, tenant: TenantId, id: DestinationId) {
        for letter in self.letters.remove(&id).iter().flat_map(Letters::iter) {
            let key = dead_letter_key(tenant, id, &letter.event_id);
            self.unwritten.push((Topic::SinkCursors, key, None));
        }
        let signals = &self.shared.signals;
        signals.forget(health_key(tenant, id));
        if let Some(redrives) = signals.redrives(id) {
            signals.forget(redrive_key(tenant, id, None));
            for event in redrives.events.keys() {
                signals.forget(redrive_key(tenant, id, Some(event)));
            }
        }
    }

    /// Reads the settings of a destination, which are not in the directory, and finds where a
    /// new one begins: with what was received from its creation on.
    pub(super) fn open(&mut self, id: DestinationId) {
        let Some(target) = self.targets.get(&id) else {
            return;
        };
        let (placed, entry) = (target.placed, Arc::clone(&target.entry));
        let (shared, lane) = (Arc::clone(&self.shared), self.partition);
        self.opening.spawn(async move {
            let version = entry.version;
            let created_ms = entry.body.created_at.div_euclid(1000);
            let start = match placed {
                true => Ok(None),
                false => {
                    let log = &shared.deps.log;
                    log.offset_at(Topic::TenantStreams, lane, created_ms)
                        .await
                        .map(Some)
                }
            };
            match start {
                Ok(start) => Opened {
                    id,
                    version,
                    start,
                    destination: shared.deps.factory.open(entry).await,
                },
                Err(error) => Opened {
                    id,
                    version,
                    start: None,
                    destination: Err(OpenError::Unavailable(error.to_string())),
                },
            }
        });
    }

    pub(super) async fn opened(&mut self, opened: Opened) {
        let id = opened.id;
        let Some(target) = self
            .targets
            .get_mut(&id)
            .filter(|t| t.entry.version == opened.version)
        else {
            return;
        };
        if let Some(start) = opened.start.filter(|_| !target.placed) {
            target.place(Cursor::at(start), self.head);
        }
        match opened.destination {
            Ok(destination) => target.destination = Some(destination),
            Err(error @ OpenError::Settings(_)) => {
                tracing::warn!(destination = %id, %error, "a destination waits until its settings are changed");
            }
            Err(error) => {
                tracing::warn!(destination = %id, %error, "a destination waits for its settings; trying again");
                let at = Instant::now() + REOPEN;
                target.wake = Some(at);
                self.wakes.push(std::cmp::Reverse((at, id)));
            }
        }
        self.answer_redrives(id);
        self.redrive(id);
        self.pump(id).await;
    }
}

/// Event types that this version does not know match nothing, and are said.
fn filter(entry: &DestinationEntry) -> Option<Filter> {
    let types = entry.body.event_types.iter().map(String::as_str);
    Filter::parse(types, entry.body.devices.iter().cloned())
        .inspect_err(|unknown| {
            tracing::error!(destination = %entry.id, event_type = unknown, "a destination names an event type that this version does not know; it waits");
        })
        .ok()
}
