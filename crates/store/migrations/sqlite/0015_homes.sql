-- The database of the tenant's own tables; '' for the main one, which has a copy of the row of a
-- tenant elsewhere.
ALTER TABLE tenants ADD COLUMN home TEXT NOT NULL DEFAULT '';

-- Of a slug that is being given to a tenant elsewhere: since when.
ALTER TABLE slugs ADD COLUMN claimed_at INTEGER;

-- A partner may be in another database than the tenant that grants it something.
CREATE TABLE partner_grants_anew (
    tenant_id   TEXT NOT NULL REFERENCES tenants (tenant_id),
    grant_id    TEXT NOT NULL,
    -- A tenant of the kind partner.
    partner_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    -- JSON: names of event types, at least one.
    event_types TEXT NOT NULL,
    -- JSON: ids of devices, none for all.
    devices     TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, grant_id)
);
INSERT INTO partner_grants_anew SELECT tenant_id, grant_id, partner_id, name, event_types, devices,
    expires_at, created_at FROM partner_grants;
DROP TABLE partner_grants;
ALTER TABLE partner_grants_anew RENAME TO partner_grants;
CREATE INDEX grants_of_partner ON partner_grants (partner_id, grant_id);

-- Whose a secret is, of tenants elsewhere: in the main database, by its keyed hash.
CREATE TABLE secret_homes (
    token_hash TEXT NOT NULL PRIMARY KEY CHECK (token_hash <> ''),
    tenant_id  TEXT NOT NULL,
    claimed_at INTEGER NOT NULL
);
CREATE INDEX secret_homes_of_tenant ON secret_homes (tenant_id, token_hash);
