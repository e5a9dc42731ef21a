-- Tenants below tenants, and what a tenant sets for itself.
-- The owner of the tables is held by row-level security too: for this transaction it is not.
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenants ADD COLUMN kind TEXT NOT NULL DEFAULT 'tenant';
ALTER TABLE tenants ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN plan TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
-- All that it was given, where a part of that is given to tenants below it: limits is then what is left.
ALTER TABLE tenants ADD COLUMN total_limits TEXT;
-- Whether a tenant above it is not active.
ALTER TABLE tenants ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
-- Counts the changes of the row itself.
ALTER TABLE tenants ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
CREATE INDEX tenants_of_parent ON tenants (parent, tenant_id) WHERE parent IS NOT NULL;
UPDATE tenants SET kind = 'platform' WHERE slug = 'platform';

-- Every slug that is taken: a tenant's own, and for a while those that it had before.
CREATE TABLE slugs (
    slug      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    -- What it looks like: no other one may look the same.
    appearance TEXT COLLATE "C" NOT NULL UNIQUE,
    -- Of a former one: until when it leads to the tenant.
    until     BIGINT
);
CREATE INDEX slugs_of_tenant ON slugs (tenant_id);
INSERT INTO slugs (slug, tenant_id, appearance)
    SELECT slug, tenant_id, replace(replace(replace(replace(replace(slug, '0', 'o'), '1', 'l'), '5', 's'), 'rn', 'm'), 'vv', 'w')
    FROM tenants;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

-- A tenant's own values by name.
CREATE TABLE config_entries (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    key        TEXT COLLATE "C" NOT NULL,
    value      TEXT NOT NULL,
    version    BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

-- What was answered to creations that a client may ask for again.
CREATE TABLE idempotent_answers (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    -- A hash of who asked and what for.
    fingerprint TEXT COLLATE "C" NOT NULL,
    -- 0 while the first request is at work.
    status      BIGINT NOT NULL,
    answer      BYTEA,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotent_answers_by_expiry ON idempotent_answers (expires_at);

ALTER TABLE api_keys ADD COLUMN role TEXT;
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;
-- While a key is rotated, what it was before holds for a while too.
ALTER TABLE api_keys ADD COLUMN former_hash TEXT COLLATE "C" CHECK (former_hash <> '');
ALTER TABLE api_keys ADD COLUMN former_until BIGINT;
CREATE UNIQUE INDEX api_keys_by_former_hash ON api_keys (former_hash);

GRANT SELECT, INSERT, UPDATE, DELETE ON slugs, config_entries, idempotent_answers TO laneway_app;
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['slugs', 'config_entries', 'idempotent_answers'] LOOP
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
CREATE POLICY by_former_secret ON api_keys FOR SELECT TO laneway_app
    USING (former_hash = NULLIF(current_setting('laneway.credential', true), ''));
CREATE POLICY by_slug ON slugs FOR SELECT TO laneway_app
    USING (slug = NULLIF(current_setting('laneway.slug', true), ''));
