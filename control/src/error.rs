//! Refusals of the API, as problem details.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use laneway_runtime::Problem;
use laneway_store::StoreError;
use laneway_tenancy::{AuthError, PasswordError};

/// What a handler answers instead.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Problem);

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        ApiError(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "The request is not valid",
            detail,
        ))
    }

    pub(crate) fn not_found() -> Self {
        ApiError(Problem::not_found())
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        ApiError(Problem::new(
            StatusCode::CONFLICT,
            "conflict",
            "This is not possible as things are",
            detail,
        ))
    }

    pub(crate) fn too_large(most: usize) -> Self {
        ApiError(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            format!("At most {most} bytes are read."),
        ))
    }

    pub(crate) fn internal() -> Self {
        ApiError(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here",
            "",
        ))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        IntoResponse::into_response(self.0)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        ApiError(problem)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Exists { .. } | StoreError::Refused(_) => {
                ApiError::conflict(error.to_string())
            }
            StoreError::LimitReached { .. } => ApiError(Problem::new(
                StatusCode::FORBIDDEN,
                "limit-reached",
                "The tenant has as many as it may",
                error.to_string(),
            )),
            StoreError::Changed { .. } => ApiError(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "It has changed meanwhile",
                error.to_string(),
            )),
            StoreError::Missing { .. } => ApiError::not_found(),
            StoreError::Unavailable { .. } => {
                tracing::warn!(%error, "a request found the store unavailable");
                ApiError(Problem::unavailable("The store is unavailable."))
            }
            _ => {
                tracing::error!(%error, "a request failed");
                ApiError::internal()
            }
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        ApiError(laneway_hosts::of_authentication(error))
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Length => ApiError::invalid(error.to_string()),
            PasswordError::Busy => ApiError(Problem::unavailable(error.to_string())),
            PasswordError::Hash(_) => {
                tracing::error!(%error, "a password could not be hashed");
                ApiError::internal()
            }
        }
    }
}
