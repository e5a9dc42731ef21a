-- Times are microseconds since 1970, UTC. Identifiers are unique within their tenant only.

CREATE TABLE tenants (
    tenant_id       TEXT NOT NULL PRIMARY KEY CHECK (tenant_id LIKE 'ten\_%' ESCAPE '\'),
    slug            TEXT NOT NULL UNIQUE,
    parent          TEXT REFERENCES tenants (tenant_id),
    state           TEXT NOT NULL,
    placement       TEXT NOT NULL,
    limits          TEXT NOT NULL,
    control_version INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
);

CREATE TABLE devices (
    tenant_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    device_id  TEXT NOT NULL,
    since      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);

CREATE TABLE credentials (
    tenant_id     TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    device_id     TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('token', 'password')),
    token_hash    TEXT UNIQUE CHECK (token_hash <> ''),
    password_hash TEXT,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
);
CREATE INDEX credentials_of_device ON credentials (tenant_id, device_id);
CREATE UNIQUE INDEX one_password_a_device ON credentials (tenant_id, device_id) WHERE kind = 'password';

CREATE TABLE api_keys (
    tenant_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    key_id     TEXT NOT NULL,
    name       TEXT NOT NULL,
    grants     TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE CHECK (token_hash <> ''),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE destinations (
    tenant_id      TEXT NOT NULL REFERENCES tenants (tenant_id),
    destination_id TEXT NOT NULL,
    kind           TEXT NOT NULL,
    url            TEXT NOT NULL,
    secret         BLOB NOT NULL,
    event_types    TEXT NOT NULL,
    devices        TEXT NOT NULL,
    state          TEXT NOT NULL,
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, destination_id)
);

-- Control changes that are not in the log yet.
CREATE TABLE outbox (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id      TEXT NOT NULL,
    version        INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    id             TEXT NOT NULL,
    deleted        INTEGER NOT NULL,
    effective_from INTEGER NOT NULL,
    body           TEXT NOT NULL,
    UNIQUE (tenant_id, version)
);

-- What the projection writes.
CREATE TABLE latest_positions (
    tenant_id   TEXT NOT NULL,
    device_id   TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    fix_id      TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);

CREATE TABLE sessions (
    tenant_id   TEXT NOT NULL,
    device_id   TEXT NOT NULL,
    session_id  TEXT NOT NULL,
    stage       INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    started_at  INTEGER,
    stopped_at  INTEGER,
    last_fix_at INTEGER,
    fixes       INTEGER NOT NULL,
    distance_m  REAL NOT NULL,
    duration_s  REAL NOT NULL,
    attributes  TEXT,
    PRIMARY KEY (tenant_id, device_id, session_id)
);
CREATE INDEX sessions_by_id ON sessions (tenant_id, session_id);

-- How far the projection has come: everything below next_offset is in the tables above.
CREATE TABLE projection_positions (
    generation  INTEGER NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (generation, partition)
);

-- The schema registry. Ids are given once and never change.
CREATE TABLE schemas (
    id     INTEGER NOT NULL PRIMARY KEY,
    schema TEXT NOT NULL
);
-- Whose a subject is: a tenant's id, or '' for the platform's.
CREATE TABLE schema_subjects (
    subject TEXT NOT NULL PRIMARY KEY,
    owner   TEXT NOT NULL
);
CREATE TABLE schema_versions (
    subject   TEXT NOT NULL REFERENCES schema_subjects (subject),
    version   INTEGER NOT NULL,
    schema_id INTEGER NOT NULL REFERENCES schemas (id),
    PRIMARY KEY (subject, version),
    UNIQUE (subject, schema_id)
);
-- One row, which registrations lock.
CREATE TABLE registry_state (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    next_id  INTEGER NOT NULL
);
INSERT INTO registry_state VALUES (1, 1);

-- How much of a tenant's traffic each ingest node sees.
CREATE TABLE rate_shares (
    tenant_id  TEXT NOT NULL,
    node       TEXT NOT NULL,
    demand     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, node)
);

-- What the deployment as a whole remembers.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);

-- Work that one process does at a time.
CREATE TABLE leases (
    name       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);
