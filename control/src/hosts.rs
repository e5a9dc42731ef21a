//! Proofs that a host is its tenant's: asked for once before it is live, and again from time to
//! time.

mod again;
mod dns;
mod fetch;

use std::time::Duration;

use laneway_runtime::guard::Guard;
use laneway_tenancy::{HostPattern, Random};
use tokio::sync::Semaphore;

use crate::settings::HostProofSettings;

pub(crate) use again::{micros, prove_again, spread};

/// Proofs at a time of one node: that are asked for, and once more of those that are due.
const AT_ONCE: usize = 8;

/// Looks for tokens where tenants publish them.
pub(crate) struct Prover {
    settings: HostProofSettings,
    guard: Guard,
    places: Semaphore,
}

impl Prover {
    pub(crate) fn new(settings: HostProofSettings) -> Self {
        Prover {
            guard: Guard::allowing(&settings.allow_private_networks),
            settings,
            places: Semaphore::new(AT_ONCE),
        }
    }

    pub(crate) fn settings(&self) -> &HostProofSettings {
        &self.settings
    }

    /// Whether the token stands in the host's TXT record or file; why not, otherwise. A wildcard
    /// is proved by the record alone: a file under one name says nothing of the others.
    pub(crate) async fn prove(&self, host: &HostPattern, token: &str) -> Result<(), String> {
        let bound = Duration::from_millis(self.settings.timeout_ms.max(1));
        let names = dns::Names::new(&self.settings)?;
        let Err(record) = in_time(bound, names.proves(&host.proof_name(), token)).await else {
            return Ok(());
        };
        if host.is_wildcard() {
            return Err(record);
        }
        let port = self.settings.http_port;
        let fetched = fetch::proves(&names, &self.guard, host.base(), port, token);
        match in_time(bound, fetched).await {
            Ok(()) => Ok(()),
            Err(file) => Err(format!("{record}; {file}")),
        }
    }

    /// The same for a request; `None` while there are as many of them as there may be.
    pub(crate) async fn prove_now(
        &self,
        host: &HostPattern,
        token: &str,
    ) -> Option<Result<(), String>> {
        let _place = self.places.try_acquire().ok()?;
        Some(self.prove(host, token).await)
    }
}

async fn in_time(
    bound: Duration,
    work: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    match tokio::time::timeout(bound, work).await {
        Ok(done) => done,
        Err(_) => Err(format!("there was no answer within {bound:?}")),
    }
}

/// What a tenant publishes. Not a secret, but nobody can have published it before.
pub(crate) fn new_token(random: &dyn Random) -> String {
    use std::fmt::Write;
    let mut bytes = [0u8; 20];
    random.fill(&mut bytes);
    bytes
        .iter()
        .fold("laneway-host-".to_owned(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
