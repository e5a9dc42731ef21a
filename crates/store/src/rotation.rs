//! Encrypts every secret anew with the current key, a page at a time.
//!
//! Safe to stop anywhere and to repeat: a page is a transaction, a secret that has the current key
//! is left alone, and one that changed meanwhile is not overwritten.

use laneway_tenancy::OperatorScope;
use sqlx::Row;

use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};

/// Rows of one transaction.
const PAGE: i64 = 100;

/// A column that holds sealed secrets. The row's name, which a secret is bound to, is the prefix,
/// then tenant and id with a slash between.
struct Sealed {
    prefix: &'static str,
    table: &'static str,
    id: &'static str,
    column: &'static str,
}

/// Every column of sealed secrets there is.
const SEALED: [Sealed; 3] = [
    Sealed {
        prefix: "",
        table: "destinations",
        id: "destination_id",
        column: "secret",
    },
    Sealed {
        prefix: "",
        table: "idempotent_answers",
        id: "key",
        column: "answer",
    },
    Sealed {
        prefix: "hosts/",
        table: "hosts",
        id: "host",
        column: "private_key",
    },
];

/// What a step of a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets that were encrypted anew.
    pub resealed: u64,
    /// Secrets that were looked at.
    pub seen: u64,
    /// Where to go on; `None` when all were looked at.
    pub next: Option<String>,
    /// The current key's id.
    pub key: String,
}

/// Rotates the keys of secrets at rest.
pub struct Rotation<'a> {
    store: &'a Store,
}

impl<'a> Rotation<'a> {
    pub(crate) fn new(store: &'a Store, _operator: &'a OperatorScope) -> Self {
        Rotation { store }
    }

    /// Goes on after `after` (`next` of the step before) with at least `limit` secrets, if there
    /// are as many.
    pub async fn step(&self, after: Option<&str>, limit: u64) -> Result<Rotated> {
        let mut rotated = Rotated {
            resealed: 0,
            seen: 0,
            next: None,
            key: self.store.0.secrets.current_id(),
        };
        let databases = self.store.databases()?;
        let mut at = Cursor::parse(after)?;
        while let Some(store) = databases.get(at.database) {
            let Some(sealed) = SEALED.get(at.table) else {
                at = Cursor::table(at.database + 1, 0);
                continue;
            };
            if rotated.seen >= limit {
                rotated.next = Some(at.to_string());
                break;
            }
            let page = self.page(store, sealed, &at).await?;
            rotated.resealed += page.resealed;
            rotated.seen += page.rows.len() as u64;
            let full = page.rows.len() as i64 == PAGE;
            at = match page.rows.into_iter().next_back().filter(|_| full) {
                Some(last) => Cursor {
                    tenant: last.tenant,
                    id: last.id,
                    ..at
                },
                None => Cursor::table(at.database, at.table + 1),
            };
        }
        Ok(rotated)
    }

    async fn page(&self, store: &Store, sealed: &Sealed, at: &Cursor) -> Result<Page> {
        const DOING: &str = "reading secrets to encrypt them anew";
        let Sealed {
            prefix,
            table,
            id,
            column,
        } = sealed;
        let mut tx = store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT tenant_id, {id} AS id, {column} AS sealed FROM {table}
             WHERE {column} IS NOT NULL AND (tenant_id > $1 OR (tenant_id = $1 AND {id} > $2))
             ORDER BY tenant_id, {id} LIMIT $3"
        )))
        .bind(at.tenant.as_str())
        .bind(at.id.as_str())
        .bind(PAGE)
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        let mut page = Page::default();
        let mut changes = Vec::new();
        for row in &rows {
            let tenant: String = row.try_get("tenant_id").doing(DOING)?;
            let own: String = row.try_get("id").doing(DOING)?;
            let name = format!("{prefix}{tenant}/{own}");
            let before: Vec<u8> = Named::new(table, &name, row).get("sealed")?;
            if !self.store.0.secrets.is_current(&before) {
                let secret = self.store.0.secrets.open(table, &name, &before)?;
                let after = self.store.0.secrets.seal(&name, &secret)?;
                changes.push((tenant.clone(), own.clone(), before, after));
            }
            page.rows.push(Place { tenant, id: own });
        }
        if changes.is_empty() {
            return Ok(page);
        }
        let mut tx = store.write(Access::Platform).await?;
        for (tenant, own, before, after) in changes {
            let changed = sqlx::query(sqlx::AssertSqlSafe(format!(
                "UPDATE {table} SET {column} = $4
                 WHERE tenant_id = $1 AND {id} = $2 AND {column} = $3"
            )))
            .bind(tenant)
            .bind(own)
            .bind(before)
            .bind(after)
            .execute(&mut *tx.inner)
            .await
            .doing("encrypting secrets anew")?;
            page.resealed += changed.rows_affected();
        }
        tx.commit().await?;
        Ok(page)
    }
}

#[derive(Default)]
struct Page {
    rows: Vec<Place>,
    resealed: u64,
}

struct Place {
    tenant: String,
    id: String,
}

/// The last secret that was looked at.
struct Cursor {
    /// The main one is the first; the others have the order of their names.
    database: usize,
    /// Of [`SEALED`].
    table: usize,
    tenant: String,
    id: String,
}

impl Cursor {
    fn table(database: usize, table: usize) -> Self {
        Cursor {
            database,
            table,
            tenant: String::new(),
            id: String::new(),
        }
    }

    fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else {
            return Ok(Cursor::table(0, 0));
        };
        let mut parts = text.splitn(4, '/');
        let database = parts.next().and_then(|number| number.parse().ok());
        let table = parts
            .next()
            .and_then(|name| SEALED.iter().position(|sealed| sealed.table == name));
        match (database, table, parts.next(), parts.next()) {
            (Some(database), Some(table), Some(tenant), Some(id)) => Ok(Cursor {
                database,
                table,
                tenant: tenant.to_owned(),
                id: id.to_owned(),
            }),
            _ => Err(StoreError::Missing {
                what: format!("place {text:?} in a rotation; begin it without one"),
            }),
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = SEALED.get(self.table).map_or("", |sealed| sealed.table);
        write!(f, "{}/{table}/{}/{}", self.database, self.tenant, self.id)
    }
}
