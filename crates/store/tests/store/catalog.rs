//! What the catalog says of every table with a tenant, so that a new one cannot forget.

use laneway_testkit::Database;
use sqlx::{AnyConnection, Connection, Row};

use crate::support::rig;

laneway_testkit::on_both_databases!(every_index_of_a_table_with_a_tenant_leads_with_the_tenant);

/// Indexes that lead with something else, and why they may: table, first column.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tenants", "slug", "names a tenant before it is known"),
    ("tenants", "parent", "is a tenant"),
    ("slugs", "slug", "names a tenant before it is known"),
    ("slugs", "appearance", "unique over all tenants"),
    (
        "credentials",
        "token_hash",
        "names a tenant before it is known",
    ),
    (
        "api_keys",
        "token_hash",
        "names a tenant before it is known",
    ),
    (
        "api_keys",
        "former_hash",
        "names a tenant before it is known",
    ),
    (
        "outbox",
        "seq",
        "read in order for all tenants, and emptied at once",
    ),
    ("hosts", "host", "live for one tenant of all"),
    (
        "provisioning_keys",
        "token_hash",
        "names a tenant before it is known",
    ),
    ("partner_grants", "partner_id", "the partner sees it too"),
    ("idempotent_answers", "expires_at", "swept for all tenants"),
    ("creations", "appearance", "unique over all tenants"),
    ("shard_tenants", "alone", "one tenant of all that are there"),
    ("tenants", "topic_set", "one tenant of all has a set"),
    (
        "secret_homes",
        "token_hash",
        "names a tenant before it is known",
    ),
];

const POSTGRES: &str =
    "SELECT t.relname::text AS tab, i.relname::text AS idx, a.attname::text AS col
    FROM pg_index x
    JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_class i ON i.oid = x.indexrelid
    LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
    WHERE EXISTS (SELECT 1 FROM pg_attribute o WHERE o.attrelid = t.oid
        AND o.attname = 'tenant_id' AND NOT o.attisdropped)";

const SQLITE: &str = "SELECT m.name AS tab, l.name AS idx, f.name AS col
    FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) f
    WHERE m.type = 'table' AND f.seqno = 0
      AND EXISTS (SELECT 1 FROM pragma_table_info(m.name) c WHERE c.name = 'tenant_id')";

async fn every_index_of_a_table_with_a_tenant_leads_with_the_tenant(database: Database) {
    let rig = rig(database).await;
    let mut connection = AnyConnection::connect(&rig.empty.url).await.unwrap();
    let sql = match database {
        Database::Postgres => POSTGRES,
        Database::Sqlite => SQLITE,
    };
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    assert!(rows.len() >= 15, "{} indexes", rows.len());
    for row in rows {
        let text = |name: &str| row.get::<Option<String>, _>(name).unwrap_or_default();
        let (table, index, column) = (text("tab"), text("idx"), text("col"));
        let excepted = EXCEPTIONS
            .iter()
            .any(|(t, c, _)| (*t, *c) == (table.as_str(), column.as_str()));
        assert!(
            column == "tenant_id" || excepted,
            "{index} of {table} leads with {column:?}: let it lead with tenant_id, or say here why not"
        );
    }
}
