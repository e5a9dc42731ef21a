-- Hosts that tenants registered. A registration keeps nobody away: a host is one tenant's only
-- while it is live, which takes a proof.
CREATE TABLE hosts (
    tenant_id              TEXT NOT NULL REFERENCES tenants (tenant_id),
    -- A name, or *.name for all below.
    host                   TEXT NOT NULL,
    state                  TEXT NOT NULL CHECK (state IN ('pending', 'live', 'failing')),
    -- What the tenant publishes under its host: public, not a secret.
    token                  TEXT NOT NULL,
    checked_at             INTEGER,
    proved_at              INTEGER,
    -- Why the last proof failed.
    problem                TEXT,
    next_check_at          INTEGER NOT NULL,
    -- PEM; the key is encrypted.
    certificate            TEXT,
    private_key            BLOB,
    certificate_expires_at INTEGER,
    created_at             INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, host)
);
-- Over all tenants, as slugs are.
CREATE UNIQUE INDEX a_live_host_is_one_tenants ON hosts (host) WHERE state = 'live';
