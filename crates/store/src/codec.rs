//! Between rows and values. What cannot be read names its table and row.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};

use crate::error::{Result, StoreError};

/// A row and what it is called in errors.
pub(crate) struct Named<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: &'a str,
    pub(crate) row: &'a AnyRow,
}

impl<'a> Named<'a> {
    pub(crate) fn new(table: &'static str, id: &'a str, row: &'a AnyRow) -> Self {
        Named { table, id, row }
    }

    fn corrupt(&self, column: &str, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            row: self.id.to_owned(),
            reason: format!("{column}: {reason}"),
        }
    }

    pub(crate) fn get<'r, T: Decode<'r, Any> + Type<Any>>(&'r self, column: &str) -> Result<T> {
        self.row
            .try_get(column)
            .map_err(|e| self.corrupt(column, e))
    }

    pub(crate) fn parse<T: FromStr<Err: std::fmt::Display>>(&self, column: &str) -> Result<T> {
        self.get::<String>(column)?
            .parse()
            .map_err(|e| self.corrupt(column, e))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        serde_json::from_str(&self.get::<String>(column)?).map_err(|e| self.corrupt(column, e))
    }

    /// A column that holds the name of one of a few variants.
    pub(crate) fn variant<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        let name: String = self.get(column)?;
        serde_json::from_value(serde_json::Value::String(name)).map_err(|e| self.corrupt(column, e))
    }
}

/// A value as JSON text. Ours always can be.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Unavailable {
        doing: "writing a value as JSON",
        reason: e.to_string(),
    })
}

/// The name of a variant as it is stored.
pub(crate) fn variant_name<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(to_json(value)?.trim_matches('"').to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
