-- Tenants below tenants, and what a tenant sets for itself.
ALTER TABLE tenants ADD COLUMN kind TEXT NOT NULL DEFAULT 'tenant';
ALTER TABLE tenants ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN plan TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
-- All that it was given, where a part of that is given to tenants below it: limits is then what is left.
ALTER TABLE tenants ADD COLUMN total_limits TEXT;
-- Whether a tenant above it is not active.
ALTER TABLE tenants ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
-- Counts the changes of the row itself.
ALTER TABLE tenants ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
CREATE INDEX tenants_of_parent ON tenants (parent, tenant_id) WHERE parent IS NOT NULL;
UPDATE tenants SET kind = 'platform' WHERE slug = 'platform';

-- Every slug that is taken: a tenant's own, and for a while those that it had before.
CREATE TABLE slugs (
    slug      TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (tenant_id),
    -- What it looks like: no other one may look the same.
    appearance TEXT NOT NULL UNIQUE,
    -- Of a former one: until when it leads to the tenant.
    until     INTEGER
);
CREATE INDEX slugs_of_tenant ON slugs (tenant_id);
INSERT INTO slugs (slug, tenant_id, appearance)
    SELECT slug, tenant_id, replace(replace(replace(replace(replace(slug, '0', 'o'), '1', 'l'), '5', 's'), 'rn', 'm'), 'vv', 'w')
    FROM tenants;

-- A tenant's own values by name.
CREATE TABLE config_entries (
    tenant_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

-- What was answered to creations that a client may ask for again.
CREATE TABLE idempotent_answers (
    tenant_id   TEXT NOT NULL,
    key         TEXT NOT NULL,
    -- A hash of who asked and what for.
    fingerprint TEXT NOT NULL,
    -- 0 while the first request is at work.
    status      INTEGER NOT NULL,
    answer      BLOB,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotent_answers_by_expiry ON idempotent_answers (expires_at);

ALTER TABLE api_keys ADD COLUMN role TEXT;
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
-- While a key is rotated, what it was before holds for a while too.
ALTER TABLE api_keys ADD COLUMN former_hash TEXT CHECK (former_hash <> '');
ALTER TABLE api_keys ADD COLUMN former_until INTEGER;
CREATE UNIQUE INDEX api_keys_by_former_hash ON api_keys (former_hash);
