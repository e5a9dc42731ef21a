//! A key may name a device that was registered a moment ago, by control, in another process:
//! what the directory does not know yet, the store does.

use std::time::Duration;

use laneway_tenancy::{Authenticated, DeviceId};

use super::device::Sender;
use super::{Accept, Refused};

/// Most devices of one request that the store is asked for.
const ASKED: usize = 4;
/// How long news may take from the store to the directory.
const PATIENCE: Duration = Duration::from_secs(2);

impl Accept {
    /// Returns once the directory knows those of the named devices that the store does.
    /// Costs a look into the directory where it knows them all, and nothing for a device's own
    /// credentials.
    pub async fn catch_up<'a>(
        &self,
        who: &Authenticated,
        named: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refused> {
        if matches!(Sender::of(who, &self.directory)?, Sender::Device(_)) {
            return Ok(());
        }
        // On the heap: a device's own request does not wait here.
        Box::pin(self.catch_up_with(who, named)).await
    }

    async fn catch_up_with<'a>(
        &self,
        who: &Authenticated,
        named: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refused> {
        let tenant = who.scope.tenant();
        let version = self.directory.version(tenant);
        let mut unknown: Vec<DeviceId> = Vec::new();
        let mut last = "";
        for name in named {
            if name == last || self.directory.device_known(tenant, name, version) {
                last = name;
                continue;
            }
            last = name;
            if unknown.iter().all(|id| id.as_str() != name)
                && let Ok(id) = name.parse()
            {
                unknown.push(id);
            }
            if unknown.len() == ASKED {
                break;
            }
        }
        let mut since = 0;
        for id in &unknown {
            let found = self
                .store
                .devices(&who.scope)
                .find(id)
                .await
                .map_err(Refused::Store)?;
            since = since.max(found.map_or(0, |device| device.since));
        }
        tokio::time::timeout(PATIENCE, self.directory.wait_for(tenant, since))
            .await
            .map_err(|_| Refused::Behind)
    }
}
