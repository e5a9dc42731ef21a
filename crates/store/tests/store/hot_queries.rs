//! With 10,000 tenants the queries of every request still go by index.

use laneway_testkit::Database;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::support::rig;

laneway_testkit::on_both_databases!(hot_queries_go_by_index_with_ten_thousand_tenants);

const TENANT: &str = "ten_00000000000000000000004711";

/// A query as its source has it, blanks aside: what follows the columns.
struct Hot {
    source: &'static str,
    table: &'static str,
    condition: &'static str,
}

const HOT: &[Hot] = &[
    Hot {
        source: include_str!("../../src/tenants/row.rs"),
        table: "tenants",
        condition: "tenant_id = $1",
    },
    Hot {
        source: include_str!("../../src/tenants/row.rs"),
        table: "tenants",
        condition: "slug = $1",
    },
    Hot {
        source: include_str!("../../src/devices/list.rs"),
        table: "devices d",
        condition: "WHERE d.tenant_id = $1 AND d.device_id = $2",
    },
    Hot {
        // Put together there.
        source: "d.tenant_id = $1 AND d.device_id > $2 d.device_id LIMIT $3",
        table: "devices d",
        condition: "WHERE d.tenant_id = $1 AND d.device_id > $2 ORDER BY d.device_id LIMIT $3",
    },
    Hot {
        source: include_str!("../../src/source.rs"),
        table: "credentials",
        condition: "WHERE token_hash = $1",
    },
    Hot {
        source: include_str!("../../src/source.rs"),
        table: "credentials",
        condition: "WHERE tenant_id = $1 AND device_id = $2 AND kind = 'password'",
    },
    Hot {
        source: include_str!("../../src/credentials.rs"),
        table: "credentials",
        condition: "WHERE tenant_id = $1 AND device_id = $2 ORDER BY credential_id",
    },
    Hot {
        source: include_str!("../../src/source.rs"),
        table: "api_keys",
        condition: "WHERE token_hash = $1 OR former_hash = $1",
    },
    Hot {
        source: include_str!("../../src/homes/claims.rs"),
        table: "secret_homes",
        condition: "WHERE token_hash = $1",
    },
    Hot {
        source: include_str!("../../src/shards/known.rs"),
        table: "tenants",
        condition: "WHERE tenant_id = $1",
    },
    Hot {
        source: include_str!("../../src/destinations.rs"),
        table: "destinations",
        condition: "WHERE tenant_id = $1 AND destination_id = $2",
    },
    Hot {
        source: include_str!("../../src/destinations.rs"),
        table: "destinations",
        condition: "WHERE tenant_id = $1 AND destination_id > $2 ORDER BY destination_id LIMIT $3",
    },
    Hot {
        source: include_str!("../../src/grants.rs"),
        table: "partner_grants",
        condition: "WHERE partner_id = $1 AND grant_id > $2 ORDER BY grant_id LIMIT $3",
    },
    Hot {
        source: include_str!("../../src/grants.rs"),
        table: "partner_grants",
        condition: "WHERE tenant_id = $1 AND grant_id = $2",
    },
    Hot {
        source: include_str!("../../src/grants.rs"),
        table: "partner_grants",
        condition: "WHERE tenant_id = $1 AND grant_id > $2 ORDER BY grant_id LIMIT $3",
    },
    Hot {
        source: include_str!("../../src/accounts.rs"),
        table: "service_accounts",
        condition: "WHERE tenant_id = $1 AND account_id = $2",
    },
    Hot {
        source: include_str!("../../src/accounts.rs"),
        table: "service_accounts",
        condition: "WHERE tenant_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3",
    },
    Hot {
        source: include_str!("../../src/accounts/of_account.rs"),
        table: "api_keys",
        condition: "WHERE tenant_id = $1 AND account_id = $2 ORDER BY key_id",
    },
    Hot {
        source: include_str!("../../src/positions.rs"),
        table: "latest_positions",
        condition: "WHERE tenant_id = $1 AND device_id = $2",
    },
    Hot {
        // Put together there.
        source: "tenant_id = $1 AND device_id IN ($2)",
        table: "latest_positions",
        condition: "WHERE tenant_id = $1 AND device_id IN ($2)",
    },
    Hot {
        source: include_str!("../../src/sessions.rs"),
        table: "sessions",
        condition: "WHERE tenant_id = $1 AND device_id = $2 AND session_id > $3 ORDER BY session_id LIMIT $4",
    },
    Hot {
        source: include_str!("../../src/audit/read.rs"),
        table: "audit_entries",
        condition: "WHERE tenant_id = $1 AND seq > $2 AND at >= $3 AND at < $4 ORDER BY seq LIMIT $5",
    },
    Hot {
        source: include_str!("../../src/audit/chain.rs"),
        table: "audit_heads",
        condition: "WHERE tenant_id = $1",
    },
];

/// A number as the end of an id or a hash, on either database.
fn padded(database: Database, prefix: &str, n: &str, digits: usize) -> String {
    match database {
        Database::Postgres => format!("'{prefix}' || lpad(({n})::text, {digits}, '0')"),
        Database::Sqlite => format!("printf('{prefix}%0{digits}d', {n})"),
    }
}

/// Rows of all tables: `t` counts tenants from 0, `d` a tenant's devices.
fn filling(database: Database) -> Vec<(&'static str, String)> {
    let tenants = match database {
        Database::Postgres => "generate_series(0, 9999) AS t(n)",
        Database::Sqlite => {
            "(WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n < 9999) SELECT n FROM t) AS t"
        }
    };
    let devices = match database {
        Database::Postgres => "generate_series(0, 9) AS d(n)",
        Database::Sqlite => {
            "(WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < 9) SELECT n FROM d) AS d"
        }
    };
    let tenant = padded(database, "ten_", "t.n", 26);
    let device = padded(database, "truck-", "d.n", 2);
    let slug = padded(database, "tenant-", "t.n", 6);
    let hash = padded(database, "", "t.n * 10 + d.n", 64);
    let key_hash = padded(database, "f", "t.n * 10 + d.n", 63);
    let former_hash = padded(database, "e", "t.n * 10 + d.n", 63);
    let sealed = match database {
        Database::Postgres => "'\\x00'::bytea",
        Database::Sqlite => "x'00'",
    };
    let per_device = format!("{tenants} CROSS JOIN {devices}");
    vec![
        (
            "tenants",
            format!(
            "INSERT INTO tenants (tenant_id, slug, state, placement, limits, control_version, created_at)
             SELECT {tenant}, {slug}, 'active', '{{}}', '{{}}', 1, 1 FROM {tenants}"
        ),
        ),
        (
            "devices",
            format!(
            "INSERT INTO devices (tenant_id, device_id, since, created_at)
             SELECT {tenant}, {device}, 1, 1 FROM {per_device}"
        ),
        ),
        (
            "credentials",
            format!(
            "INSERT INTO credentials (tenant_id, credential_id, device_id, kind, token_hash, created_at)
             SELECT {tenant}, {device}, {device}, 'token', {hash}, 1 FROM {per_device}"
        ),
        ),
        (
            "api_keys",
            format!(
            "INSERT INTO api_keys (tenant_id, key_id, account_id, name, grants, token_hash, former_hash, created_at)
             SELECT {tenant}, {device}, {device}, 'k', '[]', {key_hash}, {former_hash}, 1 FROM {per_device}"
        ),
        ),
        (
            "secret_homes",
            format!(
            "INSERT INTO secret_homes (token_hash, tenant_id, claimed_at)
             SELECT {hash}, {tenant}, 1 FROM {per_device}"
        ),
        ),
        (
            "service_accounts",
            format!(
            "INSERT INTO service_accounts (tenant_id, account_id, name, grants, version, created_at)
             SELECT {tenant}, {device}, 'a', '[]', 1, 1 FROM {per_device}"
        ),
        ),
        (
            "destinations",
            format!(
            "INSERT INTO destinations (tenant_id, destination_id, kind, url, secret, event_types, devices, state, version, created_at)
             SELECT {tenant}, {device}, 'webhook', 'u', {sealed}, '[]', '[]', 'active', 1, 1 FROM {per_device}"
        ),
        ),
        (
            "partner_grants",
            format!(
            "INSERT INTO partner_grants (tenant_id, grant_id, partner_id, name, event_types, devices, expires_at, created_at)
             SELECT {tenant}, {device}, {tenant}, 'g', '[]', '[]', 1, 1 FROM {per_device}"
        ),
        ),
        (
            "latest_positions",
            format!(
            "INSERT INTO latest_positions (tenant_id, device_id, recorded_at, fix_id, revision, body)
             SELECT {tenant}, {device}, 1, 'f', 0, '{{}}' FROM {per_device}"
        ),
        ),
        (
            "sessions",
            format!(
            "INSERT INTO sessions (tenant_id, device_id, session_id, stage, revision, fixes, distance_m, duration_s)
             SELECT {tenant}, {device}, 'trip', 1, 1, 1, 0, 0 FROM {per_device}"
        ),
        ),
        (
            "audit_entries",
            format!(
            "INSERT INTO audit_entries (tenant_id, seq, at, action, target, outcome, principal,
                principal_tenant, request_tenant, request_id, count, first_at, last_at, detail,
                address, user_agent, name, previous, hash)
             SELECT {tenant}, d.n + 1, d.n, 'a', '', '', 'p', '', '', '', 1, 1, 1, '', '', '', '', '', ''
             FROM {per_device}"
        ),
        ),
        (
            "audit_heads",
            format!("INSERT INTO audit_heads (tenant_id, seq, hash) SELECT {tenant}, 10, '' FROM {tenants}"),
        ),
    ]
}

async fn execute(connection: &mut AnyConnection, statement: String) -> Vec<AnyRow> {
    let rows = sqlx::query(AssertSqlSafe(statement.clone()))
        .fetch_all(connection)
        .await;
    rows.unwrap_or_else(|error| panic!("{statement}: {error}"))
}

/// As the tables' owner, whom row-level security does not hold for this transaction.
async fn fill(connection: &mut AnyConnection, database: Database) {
    for (table, statement) in filling(database) {
        let mut tx = connection.begin().await.unwrap();
        let security = |force: &str| format!("ALTER TABLE {table} {force} ROW LEVEL SECURITY");
        if database == Database::Postgres {
            execute(&mut tx, security("NO FORCE")).await;
        }
        execute(&mut tx, statement).await;
        if database == Database::Postgres {
            execute(&mut tx, security("FORCE")).await;
        }
        tx.commit().await.unwrap();
    }
    execute(connection, "ANALYZE".to_owned()).await;
}

/// As the program acts for the tenant.
async fn plan(connection: &mut AnyConnection, database: Database, sql: &str) -> String {
    let mut tx = connection.begin().await.unwrap();
    let explain = match database {
        Database::Postgres => {
            let acting = format!(
                "SELECT set_config('role', 'laneway_app', true), set_config('laneway.tenant', '{TENANT}', true)"
            );
            execute(&mut tx, acting).await;
            format!("EXPLAIN {sql}")
        }
        Database::Sqlite => format!("EXPLAIN QUERY PLAN {sql}"),
    };
    let rows = execute(&mut tx, explain).await;
    tx.commit().await.unwrap();
    let column = match database {
        Database::Postgres => 0,
        Database::Sqlite => 3,
    };
    let lines: Vec<String> = rows.iter().map(|row| row.get(column)).collect();
    lines.join("\n")
}

fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn hot_queries_go_by_index_with_ten_thousand_tenants(database: Database) {
    let rig = rig(database).await;
    let mut connection = AnyConnection::connect(&rig.empty.url).await.unwrap();
    fill(&mut connection, database).await;
    for hot in HOT {
        let source = without_blanks(hot.source);
        let parts: Vec<&str> = hot.condition.split(" ORDER BY ").collect();
        for part in parts {
            let part = part.trim_start_matches("WHERE ");
            assert!(
                source.contains(part),
                "the source has another query than {part:?}"
            );
        }
        let condition = hot.condition.trim_start_matches("WHERE ");
        let values: [(&str, &str); 5] = if hot.condition.contains("seq") {
            [
                ("$5", "100"),
                ("$4", "9000"),
                ("$3", "0"),
                ("$2", "3"),
                ("$1", ""),
            ]
        } else {
            [
                ("$5", "100"),
                ("$4", "100"),
                ("$3", "100"),
                ("$2", "'truck-03'"),
                ("$1", ""),
            ]
        };
        let first = match hot.condition {
            by if by.contains("token_hash") => format!("'{:0>64}'", 47115),
            by if by.contains("slug") => "'tenant-004711'".to_owned(),
            _ => format!("'{TENANT}'"),
        };
        let mut sql = format!("SELECT * FROM {} WHERE {condition}", hot.table);
        if hot.table == "sessions" {
            sql = sql.replace("$3", "''");
        }
        for (place, value) in values {
            let value = if place == "$1" { &first } else { value };
            sql = sql.replace(place, value);
        }
        let plan = plan(&mut connection, database, &sql).await;
        let by_index = match database {
            Database::Postgres => plan.contains("Index") && !plan.contains("Seq Scan"),
            Database::Sqlite => plan.contains("USING") && !plan.contains("SCAN"),
        };
        assert!(by_index, "{sql}:\n{plan}");
    }
}
