//! Answers that tell nothing by how long they take.

use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use super::Body;
use crate::ProblemKind;
use crate::problem::TENANT_MISMATCH;

/// Longer than what such a refusal is found out in, its place in the audit trail included.
const STEP: Duration = Duration::from_millis(5);

/// Holds the refusal of another tenant's name back until whole steps after its request came: it
/// does not depend then on what was looked up, and so not on whether there is such a tenant.
pub(super) async fn even(begun: Instant, response: Response<Body>) -> Response<Body> {
    let kind = response.extensions().get::<ProblemKind>();
    if kind.is_some_and(|kind| kind.0 == TENANT_MISMATCH) {
        // On the heap: nearly no request waits here.
        Box::pin(tokio::time::sleep_until(next(begun, Instant::now()))).await;
    }
    response
}

/// The first whole number of steps after `begun` that is not before `now`.
fn next(begun: Instant, now: Instant) -> Instant {
    let steps = now
        .duration_since(begun)
        .as_micros()
        .div_ceil(STEP.as_micros())
        .max(1);
    begun + STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_waits_for_the_next_whole_step() {
        let begun = Instant::now();
        for (took, steps) in [
            (0, 1),
            (1, 1),
            (4_999, 1),
            (5_000, 1),
            (5_001, 2),
            (17_500, 4),
        ] {
            let until = next(begun, begun + Duration::from_micros(took));
            assert_eq!(until, begun + STEP * steps, "{took} µs");
        }
    }
}
