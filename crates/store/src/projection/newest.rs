//! Of several rows about one thing, the newest: a statement may touch each row once.

use std::collections::HashMap;

use laneway_tenancy::{DeviceId, SessionId, TenantId};

use super::{PositionRow, SessionRow};

/// One row a device.
pub(super) fn positions(rows: Vec<PositionRow>) -> Vec<PositionRow> {
    fn order(row: &PositionRow) -> (i64, &str, i64) {
        (row.recorded_at, row.fix_id.as_str(), row.revision)
    }
    let mut newest: HashMap<(TenantId, DeviceId), PositionRow> = HashMap::with_capacity(rows.len());
    for row in rows {
        match newest.entry((row.tenant, row.device.clone())) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                let received_at = row.received_at.max(slot.get().received_at);
                if order(&row) > order(slot.get()) {
                    slot.insert(row);
                }
                slot.get_mut().received_at = received_at;
            }
        }
    }
    in_key_order(newest)
}

pub(super) fn sessions(rows: Vec<SessionRow>) -> Vec<SessionRow> {
    let mut newest: HashMap<(TenantId, DeviceId, SessionId), SessionRow> = HashMap::new();
    for row in rows {
        match newest.entry((row.tenant, row.device.clone(), row.session.clone())) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                let merged = merge(slot.get(), &row);
                slot.insert(merged);
            }
        }
    }
    in_key_order(newest)
}

/// The same as the database's own merge.
fn merge(a: &SessionRow, b: &SessionRow) -> SessionRow {
    let newer = |row: &SessionRow| (row.state.stage(), row.revision);
    let (old, new) = if newer(b) > newer(a) { (a, b) } else { (b, a) };
    SessionRow {
        started_at: new.started_at.or(old.started_at),
        stopped_at: new.stopped_at.or(old.stopped_at),
        last_fix_at: new.last_fix_at.or(old.last_fix_at),
        attributes: new.attributes.clone().or_else(|| old.attributes.clone()),
        ..new.clone()
    }
}

/// Rows in the order of their keys, so that two batches lock them in the same order.
fn in_key_order<K: Ord, V>(rows: HashMap<K, V>) -> Vec<V> {
    let mut rows: Vec<(K, V)> = rows.into_iter().collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}
