-- Owners of keys that are no persons.
CREATE TABLE service_accounts (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    account_id TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT,
    -- JSON: its keys may do no more.
    grants     TEXT NOT NULL,
    disabled   BIGINT NOT NULL DEFAULT 0,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON service_accounts TO laneway_app;
ALTER TABLE service_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE service_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON service_accounts TO laneway_app
    USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*')
    WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*');

-- The account that a key belongs to, and the control version of its last change.
ALTER TABLE api_keys ADD COLUMN account_id TEXT COLLATE "C";
ALTER TABLE api_keys ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX api_keys_of_account ON api_keys (tenant_id, account_id) WHERE account_id IS NOT NULL;
