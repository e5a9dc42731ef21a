//! Whose fix or session it is, and where its records go.

use laneway_directory::Directory;
use laneway_tenancy::{Authenticated, DeviceId, Grant, Principal, TenantId};

use super::Refused;
use super::check::check_id;
use crate::refusal::{Kind, Refusal, shown};

/// What a request may send for.
pub enum Sender<'a> {
    /// A device sends for itself.
    Device(&'a str),
    /// A key sends for every device that its tenant has.
    Tenant {
        tenant: TenantId,
        directory: &'a Directory,
        version: i64,
    },
}

impl<'a> Sender<'a> {
    pub fn of(who: &'a Authenticated, directory: &'a Directory) -> Result<Self, Refused> {
        match who.scope.principal() {
            Principal::Device(device) => Ok(Sender::Device(device.as_str())),
            _ if who.scope.may(Grant::LocationWrite) => {
                let tenant = who.scope.tenant();
                Ok(Sender::Tenant {
                    tenant,
                    directory,
                    version: directory.version(tenant),
                })
            }
            _ => Err(Refused::MayNotWrite),
        }
    }

    /// The control version that records are stamped with: the one at which the device was seen
    /// to be known, by which the processor judges. A device was known when its credential was
    /// read; one that a key names is looked up in the directory as it is now.
    pub fn control_version(&self, who: &Authenticated) -> i64 {
        match self {
            Sender::Device(_) => who.control_version,
            Sender::Tenant { version, .. } => *version,
        }
    }

    /// The device that the request names or is.
    pub fn device<'b>(&self, named: Option<&'b str>) -> Result<&'b str, Refusal>
    where
        'a: 'b,
    {
        match (self, named) {
            (Sender::Device(own), None) => Ok(own),
            (Sender::Device(own), Some(named)) if *own == named => Ok(own),
            (Sender::Device(own), Some(named)) => Err(Refusal::new(
                Kind::DeviceMismatch,
                format!(
                    "`device_id` is `{}`, but the credentials are those of `{own}`; leave it out, or use a key with the grant `location:write`.",
                    shown(named)
                ),
            )),
            (Sender::Tenant { .. }, None) => Err(Refusal::new(
                Kind::MissingField,
                "`device_id` is missing; a key sends for many devices, so name the one that this is of.",
            )),
            (
                Sender::Tenant {
                    tenant,
                    directory,
                    version,
                },
                Some(named),
            ) => {
                check_id("device_id", named, DeviceId::MAX, DeviceId::is_valid)?;
                if directory.device_known(*tenant, named, *version) {
                    Ok(named)
                } else {
                    Err(Refusal::new(
                        Kind::UnknownDevice,
                        format!("The tenant has no device `{named}`; register it first."),
                    ))
                }
            }
        }
    }
}
