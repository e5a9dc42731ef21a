-- The database of the tenant's own tables; '' for the main one, which has a copy of the row of a
-- tenant elsewhere.
ALTER TABLE tenants ADD COLUMN home TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Of a slug that is being given to a tenant elsewhere: since when.
ALTER TABLE slugs ADD COLUMN claimed_at BIGINT;

-- A partner may be in another database than the tenant that grants it something.
ALTER TABLE partner_grants DROP CONSTRAINT partner_grants_partner_id_fkey;

-- Whose a secret is, of tenants elsewhere: in the main database, by its keyed hash.
CREATE TABLE secret_homes (
    token_hash TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (token_hash <> ''),
    tenant_id  TEXT COLLATE "C" NOT NULL,
    claimed_at BIGINT NOT NULL
);
CREATE INDEX secret_homes_of_tenant ON secret_homes (tenant_id, token_hash);

GRANT SELECT, INSERT, UPDATE, DELETE ON secret_homes TO laneway_app;
ALTER TABLE secret_homes ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret_homes FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON secret_homes TO laneway_app
USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*')
WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*');
CREATE POLICY by_secret ON secret_homes FOR SELECT TO laneway_app
    USING (token_hash = NULLIF(current_setting('laneway.credential', true), ''));
