//! Records of the quarantine, sent again.

use std::collections::HashMap;

use laneway_log::{Log, Records, Topic};
use laneway_schemas::headers::REDRIVEN;
use laneway_schemas::{Codecs, Contract, EncodeError, LocationUpdate, Quarantined, SessionEvent};
use laneway_store::{Store, StoreError, Tenant};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, OperatorScope, TenantId};

/// Refused because of what was known at the record's control version: it is stamped with the
/// tenant's present one, by which the operator says that it is to be judged.
const JUDGED_BY_VERSION: [&str; 2] = ["unknown-tenant", "unknown-device"];

/// Makes the records of one request.
pub(crate) struct Redriver<'a> {
    pub(crate) store: &'a Store,
    pub(crate) operator: &'a OperatorScope,
    pub(crate) authority: &'a RoleAuthority,
    pub(crate) log: &'a dyn Log,
    pub(crate) codecs: &'a Codecs,
    pub(crate) now_ms: i64,
    pub(crate) tenants: HashMap<TenantId, Option<Tenant>>,
    /// Whether there are such devices.
    pub(crate) devices: HashMap<(TenantId, String), bool>,
}

/// Why a record stays where it is.
pub(crate) type Stays = &'static str;

impl Redriver<'_> {
    /// Adds the record as it was, to the lane that its device has now; where its key names no
    /// tenant, to the partition that it came from. What was erased does not come back by it.
    pub(crate) async fn push(
        &mut self,
        refused: &Quarantined,
        records: &mut Records,
    ) -> Result<Result<(), Stays>, StoreError> {
        let topics = [Topic::LocationUpdates, Topic::SessionEvents];
        let Some(topic) = topics.into_iter().find(|t| t.name() == refused.topic) else {
            return Ok(Err("nothing is sent to the topic that it came from"));
        };
        let Some(value) = &refused.value else {
            return Ok(Err("it was too large for its value to be kept"));
        };
        let tenant = self.tenant(&refused.key).await?;
        if let Some((tenant, device)) = &tenant {
            if tenant.body.state.is_ending() {
                return Ok(Err("its tenant is closed"));
            }
            if !self.is_registered(tenant.id, device).await? {
                return Ok(Err("its device is not registered (any more)"));
            }
        }
        let partition = match &tenant {
            Some((tenant, device)) => tenant.body.placement.lane(device),
            None => u32::try_from(refused.partition).unwrap_or_default(),
        };
        if partition >= self.log.partitions(topic) {
            return Ok(Err("the partition that it came from does not exist"));
        }
        let version = tenant
            .filter(|_| JUDGED_BY_VERSION.contains(&refused.reason.as_str()))
            .map(|(tenant, _)| tenant.control_version);
        let mut restamped = Vec::new();
        let stamped = match (version, topic) {
            (None, _) => Ok(false),
            (Some(version), Topic::SessionEvents) => {
                self.restamp::<SessionEvent>(value, &mut restamped, |e| e.control_version = version)
                    .await
            }
            (Some(version), _) => {
                self.restamp::<LocationUpdate>(value, &mut restamped, |e| {
                    e.control_version = version;
                })
                .await
            }
        };
        let Ok(stamped) = stamped else {
            return Ok(Err("it cannot be written under today's contract"));
        };
        let value = if stamped {
            &restamped
        } else {
            value.as_slice()
        };
        let yes: &[u8] = b"1";
        let headers = || {
            let kept = refused
                .headers
                .iter()
                .filter(|(n, _)| n.as_str() != REDRIVEN);
            kept.map(|(n, v)| (n.as_str(), v.as_slice()))
                .chain([(REDRIVEN, yes)])
        };
        let size: usize = headers().map(|(n, v)| n.len() + v.len()).sum();
        if refused.key.len() + value.len() + size + 1024 > self.log.max_record_bytes() {
            return Ok(Err("it is too large"));
        }
        records.push(
            topic,
            partition,
            self.now_ms,
            &refused.key,
            headers(),
            value,
        );
        Ok(Ok(()))
    }

    /// Tenant and device of the key, where there is such a tenant.
    async fn tenant<'k>(&mut self, key: &'k [u8]) -> Result<Option<(Tenant, &'k str)>, StoreError> {
        let Some((tenant, device)) = std::str::from_utf8(key)
            .ok()
            .and_then(|k| k.split_once('/'))
        else {
            return Ok(None);
        };
        let Ok(id) = tenant.parse::<TenantId>() else {
            return Ok(None);
        };
        if !self.tenants.contains_key(&id) {
            let found = self.store.tenants(self.operator).find(id).await?;
            self.tenants.insert(id, found);
        }
        let found = self.tenants.get(&id).cloned().flatten();
        Ok(found.map(|tenant| (tenant, device)))
    }

    async fn is_registered(&mut self, tenant: TenantId, device: &str) -> Result<bool, StoreError> {
        let known = (tenant, device.to_owned());
        if let Some(registered) = self.devices.get(&known) {
            return Ok(*registered);
        }
        let scope = self.authority.scope(tenant);
        let registered = match device.parse::<DeviceId>() {
            Ok(id) => self.store.devices(&scope).find(&id).await?.is_some(),
            Err(_) => false,
        };
        self.devices.insert(known, registered);
        Ok(registered)
    }

    /// Whether it could be read, and has been written with the change.
    async fn restamp<T: Contract>(
        &self,
        value: &[u8],
        out: &mut Vec<u8>,
        change: impl FnOnce(&mut T),
    ) -> Result<bool, EncodeError> {
        let Ok(mut event) = self.codecs.decode_loading::<T>(value).await else {
            return Ok(false);
        };
        change(&mut event);
        self.codecs.encode(&event, out)?;
        Ok(true)
    }
}
