//! What one node knows of a tenant's use on a day.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::Quota;
use crate::TenantId;

/// By [`Quota`].
type Counters = [AtomicI64; Quota::ALL.len()];

/// Made with the first request of a tenant on a day, and forgotten after the day.
#[derive(Debug)]
pub struct Account {
    pub tenant: TenantId,
    pub day: i64,
    /// Tells the accounts of a node apart that had the same tenant and day.
    pub serial: u64,
    /// What this node let through.
    own: Counters,
    /// What the other nodes did, as of the last exchange.
    elsewhere: Counters,
    /// Of `own`, what the other nodes were told.
    said: Counters,
    touched: AtomicBool,
}

impl Account {
    pub(super) fn new(tenant: TenantId, day: i64, serial: u64) -> Self {
        Account {
            tenant,
            day,
            serial,
            own: Counters::default(),
            elsewhere: Counters::default(),
            said: Counters::default(),
            touched: AtomicBool::new(true),
        }
    }

    /// What is used of a quota, as far as this node knows.
    pub fn used(&self, quota: Quota) -> i64 {
        let of = |counters: &Counters| counters[quota as usize].load(Ordering::Relaxed);
        of(&self.own) + of(&self.elsewhere)
    }

    pub(super) fn add(&self, amounts: [i64; 2]) {
        for (own, n) in self.own.iter().zip(amounts) {
            own.fetch_add(n, Ordering::Relaxed);
        }
        self.touch();
    }

    /// Somebody asked: it takes part in the next exchange.
    pub fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody asked since the last call.
    pub fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    pub fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Events and bytes that this node let through.
    pub fn own(&self) -> [i64; 2] {
        self.own.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    pub fn is_said(&self) -> bool {
        self.own() == self.said.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// The nodes know that `own` was let through here.
    pub fn set_said(&self, own: [i64; 2]) {
        for (said, own) in self.said.iter().zip(own) {
            said.store(own, Ordering::Relaxed);
        }
    }

    /// All nodes together have used `total` events and bytes, when `own` was let through here.
    pub fn set_total(&self, total: [i64; 2], own: [i64; 2]) {
        for (elsewhere, (total, own)) in self.elsewhere.iter().zip(total.into_iter().zip(own)) {
            elsewhere.store(total - own, Ordering::Relaxed);
        }
    }
}
