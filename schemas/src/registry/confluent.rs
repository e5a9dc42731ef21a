//! Any registry with Confluent's API, through `schema_registry_converter`.

use std::time::Duration;

use futures_util::future::BoxFuture;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};

use super::{Registry, RegistryError};

pub struct ConfluentRegistry {
    settings: SrSettings,
}

impl ConfluentRegistry {
    /// `urls`: base addresses, such as `http://registry:8081`; more than one are tried in turn.
    /// `basic` is a user and a password.
    pub fn new(
        urls: &[String],
        basic: Option<(&str, &str)>,
        timeout: Duration,
    ) -> Result<Self, RegistryError> {
        let unavailable = |reason: String| RegistryError::Unavailable {
            doing: "preparing its client".into(),
            reason,
        };
        let (first, rest) = urls
            .split_first()
            .ok_or_else(|| unavailable("no address is configured".into()))?;
        let mut builder = SrSettings::new_builder(first.clone());
        for url in rest {
            builder.add_url(url.clone());
        }
        if let Some((user, password)) = basic {
            builder.set_basic_authorization(user, Some(password));
        }
        builder.set_timeout(timeout);
        let settings = builder.build().map_err(|e| unavailable(reason(&e)))?;
        Ok(ConfluentRegistry { settings })
    }
}

impl Registry for ConfluentRegistry {
    fn register<'a>(
        &'a self,
        subject: &'a str,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<u32, RegistryError>> {
        Box::pin(async move {
            let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
            match post_schema(&self.settings, subject.to_owned(), supplied).await {
                Ok(registered) => Ok(registered.id),
                Err(error) => Err(register_error(subject, &error)),
            }
        })
    }

    fn schema(&self, id: u32) -> BoxFuture<'_, Result<String, RegistryError>> {
        Box::pin(async move {
            match get_schema_by_id(id, &self.settings).await {
                Ok(registered) => Ok(registered.schema),
                Err(error) if !error.retriable => Err(RegistryError::UnknownId { id }),
                Err(error) => Err(RegistryError::Unavailable {
                    doing: format!("asking for schema {id}"),
                    reason: reason(&error),
                }),
            }
        })
    }
}

/// The crate tells refusals from trouble only in words: a 409 is what the API answers to an
/// incompatible schema, a 422 to one that is not valid.
fn register_error(subject: &str, error: &SRCError) -> RegistryError {
    let subject = subject.to_owned();
    let reason = reason(error);
    if reason.contains("409") || reason.to_lowercase().contains("incompatible") {
        RegistryError::Incompatible { subject, reason }
    } else if reason.contains("422") {
        RegistryError::Invalid { subject, reason }
    } else {
        RegistryError::Unavailable {
            doing: format!("registering {subject}"),
            reason,
        }
    }
}

fn reason(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{} ({cause})", error.error),
        None => error.error.clone(),
    }
}
