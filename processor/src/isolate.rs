//! The second look at every record: whose it is according to its key, its payload, its lane
//! and the control changes. What fails is refused, with a reason that is a stable code.

use laneway_directory::Directory;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, TenantId};

use crate::tenants::Tenants;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Undecodable,
    BadKey,
    TenantMismatch,
    DeviceMismatch,
    LaneNotAllowed,
    UnknownTenant,
    UnknownDevice,
    TooLarge,
}

impl Reason {
    /// The code in quarantine and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Undecodable => "undecodable",
            Reason::BadKey => "bad-key",
            Reason::TenantMismatch => "tenant-mismatch",
            Reason::DeviceMismatch => "device-mismatch",
            Reason::LaneNotAllowed => "lane-not-allowed",
            Reason::UnknownTenant => "unknown-tenant",
            Reason::UnknownDevice => "unknown-device",
            Reason::TooLarge => "too-large",
        }
    }
}

/// Why a record goes to quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Refusal {
            reason,
            detail: detail.into(),
        }
    }
}

/// What a record says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub tenant: &'a str,
    pub device: &'a str,
    pub control_version: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The tenant's place in [`Tenants`].
    Passed(u32),
    Refused(Refusal),
    /// The writer knew of control changes that have not been read here: look again later.
    Wait {
        tenant: TenantId,
        version: i64,
    },
}

/// Tenant and device of a record's key, `tenant/device`.
pub fn split_key(key: &[u8]) -> Result<(&str, &str), Refusal> {
    let bad = || {
        let shown = String::from_utf8_lossy(&key[..key.len().min(200)]);
        Refusal::new(
            Reason::BadKey,
            format!("the key `{shown}` is not `tenant id/device id`"),
        )
    };
    let text = std::str::from_utf8(key).map_err(|_| bad())?;
    let (tenant, device) = text.split_once('/').ok_or_else(bad)?;
    if tenant.parse::<TenantId>().is_err() || device.parse::<DeviceId>().is_err() {
        return Err(bad());
    }
    Ok((tenant, device))
}

/// Whether key and payload say the same.
pub fn same(key: (&str, &str), claim: &Claim<'_>) -> Result<(), Refusal> {
    if key.0 != claim.tenant {
        let detail = format!(
            "the key says tenant {}, the payload {}",
            key.0, claim.tenant
        );
        return Err(Refusal::new(Reason::TenantMismatch, detail));
    }
    if key.1 != claim.device {
        let detail = format!(
            "the key says device {}, the payload {}",
            key.1, claim.device
        );
        return Err(Refusal::new(Reason::DeviceMismatch, detail));
    }
    Ok(())
}

/// Judges a claim that agrees with its key by the control changes that its writer knew. `known`
/// is the tenant's place, where it has one.
pub fn judge(
    claim: &Claim<'_>,
    known: Option<u32>,
    partition: u32,
    directory: &Directory,
    authority: &RoleAuthority,
    tenants: &mut Tenants,
) -> Verdict {
    let id = match known.map(|place| tenants.get(place).id) {
        Some(id) => id,
        None => match claim.tenant.parse::<TenantId>() {
            Ok(id) => id,
            Err(error) => return Verdict::Refused(Refusal::new(Reason::BadKey, error.to_string())),
        },
    };
    let version = directory.version(id);
    if version < claim.control_version {
        return Verdict::Wait {
            tenant: id,
            version: claim.control_version,
        };
    }
    let place = tenants
        .current(known, id, claim.tenant, version, directory, authority)
        .filter(|place| claim.control_version < tenants.get(*place).until);
    let Some(place) = place else {
        let detail = format!(
            "tenant {} is not known as of control version {}",
            claim.tenant, claim.control_version
        );
        return Verdict::Refused(Refusal::new(Reason::UnknownTenant, detail));
    };
    let lanes = &tenants.get(place).lanes;
    if lanes.binary_search(&partition).is_err() {
        let detail = format!(
            "partition {partition} is none of the lanes {lanes:?} of tenant {}",
            claim.tenant
        );
        return Verdict::Refused(Refusal::new(Reason::LaneNotAllowed, detail));
    }
    if !directory.device_known(id, claim.device, claim.control_version) {
        let detail = format!(
            "device {} of tenant {} is not known as of control version {}",
            claim.device, claim.tenant, claim.control_version
        );
        return Verdict::Refused(Refusal::new(Reason::UnknownDevice, detail));
    }
    Verdict::Passed(place)
}
