-- Times are microseconds since 1970, UTC. Identifiers are unique within their tenant only.

CREATE TABLE tenants (
    tenant_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (tenant_id LIKE 'ten\_%'),
    slug            TEXT COLLATE "C" NOT NULL UNIQUE,
    parent          TEXT COLLATE "C" REFERENCES tenants (tenant_id),
    state           TEXT NOT NULL,
    placement       TEXT NOT NULL,
    limits          TEXT NOT NULL,
    control_version BIGINT NOT NULL,
    created_at      BIGINT NOT NULL
);

CREATE TABLE devices (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    device_id  TEXT COLLATE "C" NOT NULL,
    since      BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);

CREATE TABLE credentials (
    tenant_id     TEXT COLLATE "C" NOT NULL,
    credential_id TEXT COLLATE "C" NOT NULL,
    device_id     TEXT COLLATE "C" NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('token', 'password')),
    token_hash    TEXT COLLATE "C" UNIQUE CHECK (token_hash <> ''),
    password_hash TEXT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
);
CREATE INDEX credentials_of_device ON credentials (tenant_id, device_id);
CREATE UNIQUE INDEX one_password_a_device ON credentials (tenant_id, device_id) WHERE kind = 'password';

CREATE TABLE api_keys (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    key_id     TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    grants     TEXT NOT NULL,
    token_hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (token_hash <> ''),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE destinations (
    tenant_id      TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    destination_id TEXT COLLATE "C" NOT NULL,
    kind           TEXT NOT NULL,
    url            TEXT NOT NULL,
    secret         BYTEA NOT NULL,
    event_types    TEXT NOT NULL,
    devices        TEXT NOT NULL,
    state          TEXT NOT NULL,
    version        BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, destination_id)
);

-- Control changes that are not in the log yet.
CREATE TABLE outbox (
    seq            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      TEXT COLLATE "C" NOT NULL,
    version        BIGINT NOT NULL,
    kind           TEXT NOT NULL,
    id             TEXT NOT NULL,
    deleted        BIGINT NOT NULL,
    effective_from BIGINT NOT NULL,
    body           TEXT NOT NULL,
    UNIQUE (tenant_id, version)
);

-- What the projection writes.
CREATE TABLE latest_positions (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    device_id   TEXT COLLATE "C" NOT NULL,
    recorded_at BIGINT NOT NULL,
    fix_id      TEXT COLLATE "C" NOT NULL,
    revision    BIGINT NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);

CREATE TABLE sessions (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    device_id   TEXT COLLATE "C" NOT NULL,
    session_id  TEXT COLLATE "C" NOT NULL,
    stage       BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    started_at  BIGINT,
    stopped_at  BIGINT,
    last_fix_at BIGINT,
    fixes       BIGINT NOT NULL,
    distance_m  DOUBLE PRECISION NOT NULL,
    duration_s  DOUBLE PRECISION NOT NULL,
    attributes  TEXT,
    PRIMARY KEY (tenant_id, device_id, session_id)
);
CREATE INDEX sessions_by_id ON sessions (tenant_id, session_id);

-- How far the projection has come: everything below next_offset is in the tables above.
CREATE TABLE projection_positions (
    generation  BIGINT NOT NULL,
    partition   BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, partition)
);

-- The schema registry. Ids are given once and never change.
CREATE TABLE schemas (
    id     BIGINT NOT NULL PRIMARY KEY,
    schema TEXT NOT NULL
);
-- Whose a subject is: a tenant's id, or '' for the platform's.
CREATE TABLE schema_subjects (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner   TEXT COLLATE "C" NOT NULL
);
CREATE TABLE schema_versions (
    subject   TEXT COLLATE "C" NOT NULL REFERENCES schema_subjects (subject),
    version   BIGINT NOT NULL,
    schema_id BIGINT NOT NULL REFERENCES schemas (id),
    PRIMARY KEY (subject, version),
    UNIQUE (subject, schema_id)
);
-- One row, which registrations lock.
CREATE TABLE registry_state (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    next_id  BIGINT NOT NULL
);
INSERT INTO registry_state VALUES (1, 1);

-- How much of a tenant's traffic each ingest node sees.
CREATE TABLE rate_shares (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    node       TEXT COLLATE "C" NOT NULL,
    demand     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, node)
);

-- What the deployment as a whole remembers.
CREATE TABLE settings (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Work that one process does at a time.
CREATE TABLE leases (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Roles. The owner migrates; every transaction of the program takes one of these two. A role
-- that may not create roles needs both to exist, and to be a member of both.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'laneway_app') THEN
        CREATE ROLE laneway_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'laneway_projector') THEN
        CREATE ROLE laneway_projector NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'laneway_app', 'MEMBER') THEN
        GRANT laneway_app TO CURRENT_USER;
    END IF;
    IF NOT pg_has_role(current_user, 'laneway_projector', 'MEMBER') THEN
        GRANT laneway_projector TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO laneway_app, laneway_projector', current_schema());
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    tenants, devices, credentials, api_keys, destinations, outbox, rate_shares, settings, leases,
    schemas, schema_subjects, schema_versions, registry_state
    TO laneway_app;
GRANT SELECT, DELETE ON latest_positions, sessions TO laneway_app;
GRANT SELECT ON projection_positions TO laneway_app;
GRANT SELECT, INSERT, UPDATE ON latest_positions, sessions, projection_positions TO laneway_projector;

-- Who the transaction acts for, set with set_config(..., true): a tenant's id, or * for the
-- operator and the platform's own work. After a transaction that set it, PostgreSQL answers ''.
-- Neither '' nor * can be a tenant's id.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'devices', 'credentials', 'api_keys', 'destinations', 'outbox',
        'latest_positions', 'sessions', 'rate_shares'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format($policy$
            CREATE POLICY of_tenant ON %I TO laneway_app
            USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
                OR current_setting('laneway.tenant', true) = '*')
            WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
                OR current_setting('laneway.tenant', true) = '*')
        $policy$, name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['latest_positions', 'sessions'] LOOP
        EXECUTE format($policy$
            CREATE POLICY of_projection ON %I TO laneway_projector
            USING (tenant_id = ANY (string_to_array(current_setting('laneway.tenants', true), ',')))
            WITH CHECK (tenant_id = ANY (string_to_array(current_setting('laneway.tenants', true), ',')))
        $policy$, name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['settings', 'leases'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format($policy$
            CREATE POLICY of_platform ON %I TO laneway_app
            USING (current_setting('laneway.tenant', true) = '*')
            WITH CHECK (current_setting('laneway.tenant', true) = '*')
        $policy$, name);
    END LOOP;
END
$$;

-- Authentication: before the tenant is known, only the row of the very secret that was
-- presented can be read, and the tenant of the very name.
CREATE POLICY by_secret ON credentials FOR SELECT TO laneway_app
    USING (token_hash = NULLIF(current_setting('laneway.credential', true), ''));
CREATE POLICY by_secret ON api_keys FOR SELECT TO laneway_app
    USING (token_hash = NULLIF(current_setting('laneway.credential', true), ''));
CREATE POLICY by_slug ON tenants FOR SELECT TO laneway_app
    USING (slug = NULLIF(current_setting('laneway.slug', true), ''));
