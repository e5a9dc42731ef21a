-- Owners of keys that are no persons.
CREATE TABLE service_accounts (
    tenant_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    account_id TEXT NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT,
    -- JSON: its keys may do no more.
    grants     TEXT NOT NULL,
    disabled   INTEGER NOT NULL DEFAULT 0,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);

-- The account that a key belongs to, and the control version of its last change.
ALTER TABLE api_keys ADD COLUMN account_id TEXT;
ALTER TABLE api_keys ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX api_keys_of_account ON api_keys (tenant_id, account_id) WHERE account_id IS NOT NULL;
