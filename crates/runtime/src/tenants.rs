//! Counters by tenant, for the busiest tenants; the others are counted together as `other`.
//!
//! Counting is one atomic addition on a handle that a caller keeps with the tenant. Which
//! tenants are the busiest is decided anew now and then, and only then do counts move into
//! what is shown: a tenant's series and `other` never go down, and together they are exact.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::Lifecycle;

/// Counters there may be, over all names and labels.
const MAX_COUNTERS: usize = 32;
/// Tenants that are told apart inside; more are `other` at once.
const MAX_TENANTS: usize = 65_536;
/// Rankings without a count after which a tenant is forgotten.
const FORGET_AFTER: u32 = 60;

type Counts = [AtomicU64; MAX_COUNTERS];

/// A counter that there is for every tenant.
#[derive(Debug, Clone, Copy)]
pub struct TenantCounter(usize);

/// Counts of one tenant. Keep it with what else is kept of the tenant.
#[derive(Debug, Clone)]
pub struct TenantHandle(Arc<Tenant>);

impl TenantHandle {
    pub fn add(&self, counter: TenantCounter, n: u64) {
        if let Some(count) = self.0.counts.get(counter.0) {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Tenant {
    label: Box<str>,
    counts: Counts,
}

struct Description {
    name: &'static str,
    help: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

/// What is shown.
struct Shown {
    tenants: HashMap<u128, Ranked>,
    other: [u64; MAX_COUNTERS],
}

struct Ranked {
    /// Counts that have been moved into its series or into `other`.
    seen: [u64; MAX_COUNTERS],
    /// Its own series.
    own: [u64; MAX_COUNTERS],
    /// Recent counts, halved at every ranking.
    weight: u64,
    busiest: bool,
    quiet_for: u32,
}

impl Default for Ranked {
    fn default() -> Self {
        Ranked {
            seen: [0; MAX_COUNTERS],
            own: [0; MAX_COUNTERS],
            weight: 0,
            busiest: false,
            quiet_for: 0,
        }
    }
}

pub struct TenantMetrics {
    top: usize,
    counters: RwLock<Vec<Description>>,
    tenants: RwLock<HashMap<u128, Arc<Tenant>>>,
    overflow: Arc<Tenant>,
    overflow_seen: Mutex<[u64; MAX_COUNTERS]>,
    shown: Mutex<Shown>,
}

fn no_counts() -> Counts {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TenantMetrics {
    /// Shows `top` tenants by name.
    pub fn new(top: usize) -> Arc<Self> {
        Arc::new(TenantMetrics {
            top,
            counters: RwLock::default(),
            tenants: RwLock::default(),
            overflow: Arc::new(Tenant {
                label: "other".into(),
                counts: no_counts(),
            }),
            overflow_seen: Mutex::new([0; MAX_COUNTERS]),
            shown: Mutex::new(Shown {
                tenants: HashMap::new(),
                other: [0; MAX_COUNTERS],
            }),
        })
    }

    /// A counter; the same one for the same name and labels. Labels must be few and fixed.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [(&'static str, &'static str)],
    ) -> TenantCounter {
        let mut counters = self
            .counters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = counters
            .iter()
            .position(|c| c.name == name && c.labels == labels)
        {
            return TenantCounter(index);
        }
        if counters.len() == MAX_COUNTERS {
            tracing::error!(
                name,
                ?labels,
                "there are too many counters by tenant: this one counts nothing"
            );
            return TenantCounter(MAX_COUNTERS);
        }
        counters.push(Description { name, help, labels });
        TenantCounter(counters.len() - 1)
    }

    /// The handle of a tenant, by its id; `label` is what its series are labelled with.
    pub fn tenant(&self, id: u128, label: &dyn std::fmt::Display) -> TenantHandle {
        if let Some(tenant) = self
            .tenants
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return TenantHandle(tenant.clone());
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(&id) {
            return TenantHandle(self.overflow.clone());
        }
        let new = || {
            Arc::new(Tenant {
                label: label.to_string().into(),
                counts: no_counts(),
            })
        };
        TenantHandle(tenants.entry(id).or_insert_with(new).clone())
    }

    /// Decides anew which tenants are the busiest, every minute until the drain.
    pub async fn follow(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => return Ok(()),
                () = tokio::time::sleep(Duration::from_secs(60)) => self.rank(),
            }
        }
    }

    /// Moves new counts into what is shown.
    fn settle(&self, shown: &mut Shown) {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        for (id, tenant) in tenants.iter() {
            let ranked = shown.tenants.entry(*id).or_default();
            let shown_as = if ranked.busiest {
                &mut ranked.own
            } else {
                &mut shown.other
            };
            for ((count, seen), total) in tenant.counts.iter().zip(&mut ranked.seen).zip(shown_as) {
                let now = count.load(Ordering::Relaxed);
                let new = now - *seen;
                *seen = now;
                *total += new;
                ranked.weight += new;
            }
        }
        let mut seen = lock(&self.overflow_seen);
        for ((count, seen), total) in self
            .overflow
            .counts
            .iter()
            .zip(seen.iter_mut())
            .zip(&mut shown.other)
        {
            let now = count.load(Ordering::Relaxed);
            *total += now - *seen;
            *seen = now;
        }
    }

    fn rank(&self) {
        let mut shown = lock(&self.shown);
        self.settle(&mut shown);
        let mut by_weight: Vec<(u64, u128)> = shown
            .tenants
            .iter()
            .filter(|(_, t)| t.weight > 0)
            .map(|(id, t)| (t.weight, *id))
            .collect();
        by_weight.sort_unstable_by(|a, b| b.cmp(a));
        by_weight.truncate(self.top);
        for ranked in shown.tenants.values_mut() {
            ranked.busiest = false;
            ranked.quiet_for = if ranked.weight == 0 {
                ranked.quiet_for + 1
            } else {
                0
            };
            ranked.weight /= 2;
        }
        for (_, id) in &by_weight {
            if let Some(ranked) = shown.tenants.get_mut(id) {
                ranked.busiest = true;
            }
        }
        self.forget_quiet(&mut shown);
    }

    /// Forgets tenants that have been quiet for long and whose handle nobody keeps.
    fn forget_quiet(&self, shown: &mut Shown) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        shown.tenants.retain(|id, ranked| {
            let kept = tenants
                .get(id)
                .is_some_and(|tenant| Arc::strong_count(tenant) > 1);
            let keep = kept || ranked.quiet_for < FORGET_AFTER;
            if !keep {
                tenants.remove(id);
            }
            keep
        });
    }

    /// Appends all counters in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let mut shown = lock(&self.shown);
        self.settle(&mut shown);
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut described: Vec<&str> = Vec::new();
        for counter in counters.iter() {
            if described.contains(&counter.name) {
                continue;
            }
            described.push(counter.name);
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "# HELP {} {}\n# TYPE {} counter",
                counter.name, counter.help, counter.name
            );
            for (index, counter) in counters
                .iter()
                .enumerate()
                .filter(|(_, c)| c.name == counter.name)
            {
                for (id, ranked) in shown
                    .tenants
                    .iter()
                    .filter(|(_, t)| t.busiest && t.own[index] > 0)
                {
                    if let Some(tenant) = tenants.get(id) {
                        counter.line(&tenant.label, ranked.own[index], out);
                    }
                }
                counter.line("other", shown.other[index], out);
            }
        }
    }
}

impl Description {
    fn line(&self, tenant: &str, value: u64, out: &mut String) {
        let _ = write!(out, "{}{{tenant=\"{tenant}\"", self.name);
        for (label, value) in self.labels {
            let _ = write!(out, ",{label}=\"{value}\"");
        }
        let _ = writeln!(out, "}} {value}");
    }
}

#[cfg(test)]
mod tests;
