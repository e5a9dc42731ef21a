//! Waiting for a condition, with a bound.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(20);

/// Asks `probe` every 20 ms until it answers `Some`, at most for `bound`.
///
/// `what` names the condition in the error, as in "waiting for {what}". The probe itself is not
/// cut short, except that one which hangs past the bound counts as no answer.
pub async fn eventually<T, F, P>(what: &str, bound: Duration, mut probe: P) -> Result<T>
where
    P: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let mut asked = 0_u64;
    loop {
        asked += 1;
        // A probe that is slower than the bound still gets to answer once.
        let left = bound.saturating_sub(start.elapsed()).max(STEP);
        if let Ok(Some(found)) = tokio::time::timeout(left, probe()).await {
            return Ok(found);
        }
        if start.elapsed() >= bound {
            bail!("waiting for {what}: it did not happen within {bound:?} (asked {asked} times)");
        }
        tokio::time::sleep(STEP.min(bound.saturating_sub(start.elapsed()))).await;
    }
}

/// Like [`eventually`], for a condition that is only true or false.
pub async fn until<F, P>(what: &str, bound: Duration, mut holds: P) -> Result<()>
where
    P: FnMut() -> F,
    F: Future<Output = bool>,
{
    eventually(what, bound, || {
        let answer = holds();
        async { answer.await.then_some(()) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_is_returned() {
        let mut asked = 0;
        let found = eventually("the third question", Duration::from_secs(5), || {
            asked += 1;
            let asked = asked;
            async move { (asked == 3).then_some(asked) }
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }

    #[tokio::test]
    async fn a_condition_that_stays_false_or_hangs_ends_at_the_bound_and_is_named() {
        let bound = Duration::from_millis(60);
        let error = until("the impossible", bound, || async { false })
            .await
            .unwrap_err();
        assert!(error.to_string().contains("the impossible"), "{error}");
        let hanging = eventually::<(), _, _>("an answer", bound, std::future::pending).await;
        assert!(hanging.is_err());
    }
}
