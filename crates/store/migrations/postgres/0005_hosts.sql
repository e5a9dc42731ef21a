-- Hosts that tenants registered. A registration keeps nobody away: a host is one tenant's only
-- while it is live, which takes a proof.
CREATE TABLE hosts (
    tenant_id              TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    -- A name, or *.name for all below.
    host                   TEXT COLLATE "C" NOT NULL,
    state                  TEXT NOT NULL CHECK (state IN ('pending', 'live', 'failing')),
    -- What the tenant publishes under its host: public, not a secret.
    token                  TEXT NOT NULL,
    checked_at             BIGINT,
    proved_at              BIGINT,
    -- Why the last proof failed.
    problem                TEXT,
    next_check_at          BIGINT NOT NULL,
    -- PEM; the key is encrypted.
    certificate            TEXT,
    private_key            BYTEA,
    certificate_expires_at BIGINT,
    created_at             BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, host)
);
-- Over all tenants, as slugs are.
CREATE UNIQUE INDEX a_live_host_is_one_tenants ON hosts (host) WHERE state = 'live';

GRANT SELECT, INSERT, UPDATE, DELETE ON hosts TO laneway_app;
ALTER TABLE hosts ENABLE ROW LEVEL SECURITY;
ALTER TABLE hosts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON hosts TO laneway_app
    USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*')
    WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*');
