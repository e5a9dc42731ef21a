-- The audit trail: a chain of entries a tenant, each bound to the one before it by a hash.
-- Commitments stand in the chain for what is personal; docs/audit.md has the encoding.
CREATE TABLE audit_entries (
    tenant_id        TEXT COLLATE "C" NOT NULL,
    seq              BIGINT NOT NULL CHECK (seq > 0),
    at               BIGINT NOT NULL,
    action           TEXT COLLATE "C" NOT NULL,
    target           TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    principal        TEXT COLLATE "C" NOT NULL,
    principal_tenant TEXT COLLATE "C" NOT NULL,
    request_tenant   TEXT NOT NULL,
    request_id       TEXT NOT NULL,
    count            BIGINT NOT NULL,
    first_at         BIGINT NOT NULL,
    last_at          BIGINT NOT NULL,
    detail           TEXT NOT NULL,
    address          TEXT NOT NULL,
    user_agent       TEXT NOT NULL,
    name             TEXT NOT NULL,
    previous         TEXT NOT NULL,
    hash             TEXT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX audit_entries_by_time ON audit_entries (tenant_id, at);
CREATE INDEX audit_entries_by_principal ON audit_entries (tenant_id, principal, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (tenant_id, action, seq);

-- How long each chain is, and its last hash: whoever appends locks this row.
CREATE TABLE audit_heads (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    seq       BIGINT NOT NULL,
    hash      TEXT NOT NULL
);

-- What commitments were made to, with their salts. May be erased; the chain still verifies.
CREATE TABLE audit_personal (
    tenant_id TEXT COLLATE "C" NOT NULL,
    seq       BIGINT NOT NULL,
    field     TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    salt      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (tenant_id, seq, field)
);
CREATE INDEX audit_personal_of_principal ON audit_personal (tenant_id, principal);

-- The program appends to the chain, and can neither change nor remove what is in it.
GRANT SELECT, INSERT ON audit_entries TO laneway_app;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO laneway_app;
GRANT SELECT, INSERT, DELETE ON audit_personal TO laneway_app;

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['audit_entries', 'audit_heads', 'audit_personal'] LOOP
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
END
$$;
