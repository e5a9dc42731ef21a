//! Refusals in the form that registry clients know: a code and a message.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use laneway_schemas::RegistryError;
use laneway_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use super::CONTENT_TYPE;
use crate::caller::{App, Caller};
use crate::error::ApiError;

pub(super) type RegistryResult<T> = Result<T, RegistryApiError>;

/// A refusal, as registry clients know it.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegistryProblem {
    /// The HTTP status and two more digits.
    error_code: u32,
    message: String,
}

pub(crate) struct RegistryApiError {
    status: StatusCode,
    code: u32,
    message: String,
    retry_after: Option<u32>,
}

impl RegistryApiError {
    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        RegistryApiError {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(super) fn no_subject(subject: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            40401,
            format!("Subject '{subject}' not found."),
        )
    }

    pub(super) fn no_version(version: u32) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            40402,
            format!("Version {version} not found."),
        )
    }

    pub(super) fn no_schema() -> Self {
        Self::new(StatusCode::NOT_FOUND, 40403, "Schema not found.")
    }

    fn deletion(code: u32, message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn subject_deleted(subject: &str) -> Self {
        let message = format!(
            "Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"
        );
        Self::deletion(40404, message)
    }

    pub(super) fn subject_not_deleted(subject: &str) -> Self {
        let message =
            format!("Subject '{subject}' was not deleted first before being permanently deleted");
        Self::deletion(40405, message)
    }

    pub(super) fn version_deleted(subject: &str, version: u32) -> Self {
        let message = format!(
            "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
        );
        Self::deletion(40406, message)
    }

    pub(super) fn version_not_deleted(subject: &str, version: u32) -> Self {
        let message = format!(
            "Subject '{subject}' Version {version} was not deleted first before being permanently deleted"
        );
        Self::deletion(40407, message)
    }

    pub(super) fn no_level(subject: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            40408,
            format!("Subject '{subject}' does not have subject-level compatibility configured"),
        )
    }

    pub(super) fn bad_version(version: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            42202,
            format!("'{version}' is no version: a number from 1, or 'latest'."),
        )
    }

    pub(super) fn bad_schema(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42201, reason)
    }

    pub(super) fn bad_level() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            42203,
            "A compatibility level is NONE, BACKWARD, FORWARD, FULL, or one of the last three with _TRANSITIVE.",
        )
    }

    pub(super) fn referred_to(subject: &str, version: u32) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            42206,
            format!("One or more references exist to version {version} of the subject '{subject}'"),
        )
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, 40301, message)
    }

    pub(super) fn internal(reason: &str) -> Self {
        tracing::error!(reason, "a registry request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            50001,
            "Something went wrong here.",
        )
    }
}

impl IntoResponse for RegistryApiError {
    fn into_response(self) -> Response {
        let body = RegistryProblem {
            error_code: self.code,
            message: self.message,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer, Basic realm=\"laneway\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ApiError> for RegistryApiError {
    fn from(ApiError(problem): ApiError) -> Self {
        let code = u32::from(problem.status.as_u16()) * 100 + 1;
        let message = if problem.detail.is_empty() {
            problem.title.to_owned()
        } else {
            problem.detail
        };
        RegistryApiError {
            status: problem.status,
            code,
            message,
            retry_after: problem.retry_after,
        }
    }
}

impl From<StoreError> for RegistryApiError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<RegistryError> for RegistryApiError {
    fn from(error: RegistryError) -> Self {
        match &error {
            RegistryError::Incompatible { .. } => {
                Self::new(StatusCode::CONFLICT, 409, error.to_string())
            }
            RegistryError::Invalid { .. } => Self::bad_schema(error.to_string()),
            RegistryError::UnknownId { .. } => Self::no_schema(),
            RegistryError::Unavailable { .. } => {
                tracing::warn!(%error, "the registry found the store unavailable");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    50003,
                    "The store is unavailable; try again later.",
                )
            }
        }
    }
}

/// The caller, refused in the registry's own form.
impl FromRequestParts<App> for RegistryResult<Caller> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Caller::from_request_parts(parts, app)
            .await
            .map_err(RegistryApiError::from))
    }
}
