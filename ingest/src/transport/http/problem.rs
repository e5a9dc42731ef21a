//! Refusals as problem details.

use http::StatusCode;
use laneway_log::LogError;
use laneway_runtime::Problem;
use laneway_store::StoreError;
use laneway_tenancy::quota::Exceeded;

use crate::accept::Refused;
use crate::refusal::Refusal;
use crate::wire::BatchError;

/// Seconds until a full disk may have been looked after.
const FULL_RETRY: u32 = 30;

pub fn of_refused(refused: Refused) -> Problem {
    match refused {
        Refused::MayNotWrite => Problem::forbidden("Sending locations takes a device's credentials, or a key with the grant `location:write`."),
        Refused::MayNotRead => Problem::forbidden(
            "Reading sessions takes a device's credentials, or a key with the grant `positions:read` or `location:write`.",
        ),
        Refused::TenantMismatch { .. } => Problem::new(
            StatusCode::FORBIDDEN,
            "tenant-mismatch",
            "The request names another tenant",
            "The tenant follows from the credentials; leave `tenant` out, or send that of the credentials.",
        ),
        Refused::RateLimited(limited) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate-limited",
            "Too many events",
            match limited {
                laneway_tenancy::Limited::Tenant { .. } => "The tenant's rate is used up; nothing of the request was taken. Send it again later.",
                laneway_tenancy::Limited::Device { .. } => "The device's rate is used up; nothing of the request was taken. Send it again later.",
            },
        )
        .retry_after(limited.retry_after_s()),
        Refused::QuotaExceeded(exceeded) => of_quota(&exceeded),
        Refused::Invalid(Refusal { kind, detail }) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind.name(), kind.title(), detail)
        }
        Refused::Log(error) => of_log(&error),
        Refused::Store(error) => of_store(&error),
        Refused::Behind => Problem::unavailable(
            "This node has not read the tenant's latest changes yet; nothing of the request was taken.",
        ),
        Refused::Encoding(_) => internal(),
    }
}

fn of_quota(exceeded: &Exceeded) -> Problem {
    let Exceeded {
        quota,
        used,
        limit,
        asked,
        retry_after_s,
    } = exceeded;
    let name = quota.name();
    let used = if *asked > 0 {
        format!("Of the quota `{name}` {used} of {limit} are used, and the request takes {asked}")
    } else {
        format!("The quota `{name}` is used up: {used} of {limit}")
    };
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "quota-exceeded",
        "A quota of the day is used up",
        format!("{used}; nothing of the request was taken. It begins anew at midnight, UTC."),
    )
    .retry_after(*retry_after_s)
}

pub fn of_store(error: &StoreError) -> Problem {
    if error.is_transient() {
        tracing::warn!(%error, "the store did not answer; the client is told to try again");
        return Problem::unavailable(
            "The store is out of reach; nothing of the request was taken.",
        );
    }
    tracing::error!(%error, "the store cannot answer a request");
    internal()
}

fn internal() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "The server failed",
        "Nothing of the request was taken. It is logged; tell the operator of the platform.",
    )
}

fn of_log(error: &LogError) -> Problem {
    let (kind, title, seconds) = match error {
        LogError::Busy { .. } => ("log-busy", "The log has too much waiting", 1),
        LogError::Full { .. } => ("log-full", "The log has no space left", FULL_RETRY),
        LogError::TooLarge { .. } => {
            return Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "record-too-large",
                "A record is larger than the log takes",
                "Send fewer attributes.",
            );
        }
        _ => ("log-unavailable", "The log is out of reach", 1),
    };
    tracing::warn!(%error, kind, "an append failed; the client is told to try again");
    let detail = "The request is not confirmed; sending it again is safe.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail).retry_after(seconds)
}

pub fn of_batch(error: &BatchError) -> Problem {
    let detail = sentence(&error.to_string());
    match error {
        BatchError::TooMany { .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "batch-too-large",
            "There are too many fixes in one request",
            detail,
        ),
        BatchError::Malformed(_) | BatchError::Empty | BatchError::Mixed => {
            Problem::bad_request(detail)
        }
    }
}

pub fn method_not_allowed(allow: &str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The method is not allowed here",
        format!("Use {allow}."),
    )
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).chain(['.']).collect())
        .unwrap_or_default()
}
