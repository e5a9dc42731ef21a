//! What the projection writes: latest positions and sessions, in one transaction with how far
//! it has come, so that neither a crash nor a second member makes it lose or go back.
//!
//! Where there are shards, each has the rows of its tenants, and how far it has come itself. A
//! batch is written to one after the other, to the main database last: whatever lies before where
//! that one is has been written everywhere. Where a crash, or a backup that was put back, has left
//! some behind, the projection begins at the least of them, and those that are further pass over
//! what they have.

mod newest;
mod upsert;

use std::collections::BTreeMap;
use std::sync::Arc;

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, SessionId, TenantId};
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::chunks::chunks;
use crate::error::{Doing, Result, StoreError};
use crate::{SessionState, Store};

/// A position. The latest of a device by (`recorded_at`, `fix_id`, `revision`) stays.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionRow {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub recorded_at: i64,
    /// The newest that was received stays, whichever position is the latest.
    pub received_at: i64,
    pub fix_id: String,
    pub revision: i64,
    /// JSON, as the API answers it.
    pub body: String,
}

/// A session as of one event about it. The newest by (`state`, `revision`) stays; what a newer
/// one does not say is kept from the older.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub session: SessionId,
    pub state: SessionState,
    pub revision: i64,
    pub started_at: Option<i64>,
    pub stopped_at: Option<i64>,
    pub last_fix_at: Option<i64>,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
    /// A JSON object.
    pub attributes: Option<String>,
}

/// What came from `from_offset..to_offset` of a partition of the tenants' streams.
#[derive(Debug, Clone, Default)]
pub struct ProjectionBatch {
    pub generation: u32,
    pub partition: u32,
    pub from_offset: u64,
    pub to_offset: u64,
    pub positions: Vec<PositionRow>,
    pub sessions: Vec<SessionRow>,
}

/// Where a batch begins and ends in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) generation: u32,
    pub(crate) partition: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    pub(crate) fn place(self) -> (u32, u32) {
        (self.generation, self.partition)
    }
}

/// What a batch has for one database.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    positions: Vec<PositionRow>,
    sessions: Vec<SessionRow>,
}

/// Where the databases are in a partition: the next offset that each lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projected {
    main: Option<u64>,
    shards: BTreeMap<String, u64>,
}

impl Projected {
    /// The next offset that has to be read: the least of them. A database that was added and has
    /// been nowhere yet begins with the others.
    pub fn least(&self) -> Option<u64> {
        let shards = self.shards.values().copied();
        self.main.map(|main| shards.fold(main, u64::min))
    }

    /// Whether one is beyond `end`.
    pub fn is_beyond(&self, end: u64) -> bool {
        self.main
            .iter()
            .chain(self.shards.values())
            .any(|at| *at > end)
    }
}

impl Store {
    /// Where the databases are in a partition. One that is away is passed over: should it be
    /// further behind, the first batch that has rows for it is refused when it is back
    /// ([`StoreError::Moved`]), and the projection begins again.
    pub async fn projected(
        &self,
        _authority: &RoleAuthority,
        generation: u32,
        partition: u32,
    ) -> Result<Projected> {
        let main = self.stands_at(generation, partition).await?;
        let mut shards = BTreeMap::new();
        for shard in self.0.shards.each() {
            let at = async { shard.store()?.stands_at(generation, partition).await };
            let at = unless_away(at.await)?.flatten();
            shards.extend(at.map(|at| (shard.name().to_owned(), at)));
        }
        Ok(Projected { main, shards })
    }

    /// Lets every database that was found beyond `end`, where the log ended after it was found,
    /// begin again at `to`; whether there was one. The only way back. One that is away stays as it
    /// is, and so does one that has moved since: whoever asks may have stood still in between.
    pub async fn project_again(
        &self,
        _authority: &RoleAuthority,
        place: (u32, u32),
        found: &Projected,
        end: u64,
        to: u64,
    ) -> Result<bool> {
        let mut again = match found.main {
            Some(at) if at > end => self.go_back(place, at, to).await?,
            _ => false,
        };
        for shard in self.0.shards.each() {
            let Some(at) = found.shards.get(shard.name()).filter(|at| **at > end) else {
                continue;
            };
            let gone_back = async { shard.store()?.go_back(place, *at, to).await };
            again |= unless_away(gone_back.await)?.unwrap_or(false);
        }
        Ok(again)
    }

    /// Writes a batch to each database that it has not been written to. [`StoreError::Moved`]
    /// where one is not as far as where it begins; a database that is nowhere yet may begin
    /// anywhere.
    pub async fn project(&self, _authority: &RoleAuthority, batch: ProjectionBatch) -> Result<()> {
        let span = Span {
            generation: batch.generation,
            partition: batch.partition,
            from: batch.from_offset,
            to: batch.to_offset,
        };
        let mut rows = self.by_shard(batch).await?;
        let of_main = rows.remove(&None).unwrap_or_default();
        for shard in self.0.shards.each() {
            match rows.remove(&Some(Arc::from(shard.name()))) {
                Some(its) => shard.project(span, its).await?,
                None => shard.pass(span).await,
            }
        }
        if let Some(name) = rows.into_keys().flatten().next() {
            // Not configured: the error says so.
            self.0.shards.get(&name)?;
        }
        self.write_rows(span, of_main).await
    }

    async fn by_shard(&self, batch: ProjectionBatch) -> Result<BTreeMap<Option<Arc<str>>, Rows>> {
        let tenants = tenants(&batch.positions, &batch.sessions);
        let shards = self.shards_of(&tenants).await?;
        let shard = |tenant: TenantId| {
            let place = tenants.binary_search(&tenant).ok();
            place.and_then(|place| shards[place].clone())
        };
        let mut rows: BTreeMap<Option<Arc<str>>, Rows> = BTreeMap::new();
        for row in newest::positions(batch.positions) {
            let its = rows.entry(shard(row.tenant)).or_default();
            its.positions.push(row);
        }
        for row in newest::sessions(batch.sessions) {
            let its = rows.entry(shard(row.tenant)).or_default();
            its.sessions.push(row);
        }
        Ok(rows)
    }

    /// Into this database, where it is not there already.
    pub(crate) async fn write_rows(&self, span: Span, rows: Rows) -> Result<()> {
        let tenants = tenants(&rows.positions, &rows.sessions);
        let named: Vec<String> = tenants.iter().map(TenantId::to_string).collect();
        let mut tx = self.write(Access::Projection(named.join(","))).await?;
        if advance(&mut tx, span).await? {
            for chunk in chunks(&rows.positions) {
                upsert::positions(&mut tx, chunk).await?;
            }
            for chunk in chunks(&rows.sessions) {
                upsert::sessions(&mut tx, chunk).await?;
            }
        }
        tx.commit().await
    }

    async fn stands_at(&self, generation: u32, partition: u32) -> Result<Option<u64>> {
        let mut tx = self.read(Access::Projection(String::new())).await?;
        let at = position(&mut tx, generation, partition).await?;
        tx.commit().await?;
        Ok(at)
    }

    async fn go_back(&self, place: (u32, u32), from: u64, to: u64) -> Result<bool> {
        let (generation, partition) = place;
        let mut tx = self.write(Access::Projection(String::new())).await?;
        let gone_back = sqlx::query(
            "UPDATE projection_positions SET next_offset = $4
             WHERE generation = $1 AND partition = $2 AND next_offset = $3",
        )
        .bind(i64::from(generation))
        .bind(i64::from(partition))
        .bind(stored(from))
        .bind(stored(to))
        .execute(&mut *tx.inner)
        .await
        .doing("letting the projection begin again")?;
        tx.commit().await?;
        Ok(gone_back.rows_affected() > 0)
    }
}

/// What a database answers; none where it is away.
fn unless_away<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(away) if away.is_transient() => Ok(None),
        answer => answer.map(Some),
    }
}

/// Those that rows are about, in order.
fn tenants(positions: &[PositionRow], sessions: &[SessionRow]) -> Vec<TenantId> {
    let positions = positions.iter().map(|row| row.tenant);
    let mut tenants: Vec<TenantId> = positions
        .chain(sessions.iter().map(|row| row.tenant))
        .collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

fn stored(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

async fn position(tx: &mut Tx, generation: u32, partition: u32) -> Result<Option<u64>> {
    let doing = "reading how far the projection has come";
    let row = sqlx::query(
        "SELECT next_offset FROM projection_positions WHERE generation = $1 AND partition = $2",
    )
    .bind(i64::from(generation))
    .bind(i64::from(partition))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(doing)?;
    let at: Option<i64> = row.map(|row| row.try_get(0).doing(doing)).transpose()?;
    Ok(at.map(|at| u64::try_from(at).unwrap_or(0)))
}

/// Moves to the end of a batch that begins where the partition is, or before; false where it is
/// that far already. Locks the partition's row until the transaction ends.
async fn advance(tx: &mut Tx, span: Span) -> Result<bool> {
    // Again, where another member has begun the partition at this moment.
    if move_on(tx, span).await? || begin(tx, span).await? || move_on(tx, span).await? {
        return Ok(true);
    }
    let actual = position(tx, span.generation, span.partition).await?;
    if actual.is_some_and(|at| at >= span.to) {
        return Ok(false);
    }
    Err(StoreError::Moved {
        generation: span.generation,
        partition: span.partition,
        expected: span.from,
        actual,
    })
}

async fn move_on(tx: &mut Tx, span: Span) -> Result<bool> {
    let moved = sqlx::query(
        "UPDATE projection_positions SET next_offset = $4
         WHERE generation = $1 AND partition = $2 AND next_offset >= $3 AND next_offset < $4",
    )
    .bind(i64::from(span.generation))
    .bind(i64::from(span.partition))
    .bind(stored(span.from))
    .bind(stored(span.to))
    .execute(&mut *tx.inner)
    .await
    .doing("advancing the projection")?;
    Ok(moved.rows_affected() == 1)
}

async fn begin(tx: &mut Tx, span: Span) -> Result<bool> {
    let begun = sqlx::query(
        "INSERT INTO projection_positions (generation, partition, next_offset) VALUES ($1, $2, $3)
         ON CONFLICT (generation, partition) DO NOTHING",
    )
    .bind(i64::from(span.generation))
    .bind(i64::from(span.partition))
    .bind(stored(span.to))
    .execute(&mut *tx.inner)
    .await
    .doing("beginning the projection of a partition")?;
    Ok(begun.rows_affected() == 1)
}
