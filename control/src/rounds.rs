//! Work that is looked for again and again.

use std::time::Duration;

use laneway_runtime::Lifecycle;

const EVERY: Duration = Duration::from_secs(1);

/// Goes on with a round a second until the drain. Trouble is said, as what `fails` is, and the
/// next round tries again.
pub(crate) async fn until_drain<F>(
    lifecycle: &Lifecycle,
    fails: &'static str,
    mut round: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = round().await {
            let error = format!("{error:#}");
            tracing::warn!(error, "{fails}; trying again");
        }
    }
}
