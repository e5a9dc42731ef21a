-- What tenants let partners read of their streams.
CREATE TABLE partner_grants (
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    grant_id    TEXT COLLATE "C" NOT NULL,
    -- A tenant of the kind partner.
    partner_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant_id),
    name        TEXT NOT NULL,
    -- JSON: names of event types, at least one.
    event_types TEXT NOT NULL,
    -- JSON: ids of devices, none for all.
    devices     TEXT NOT NULL,
    expires_at  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, grant_id)
);
CREATE INDEX grants_of_partner ON partner_grants (partner_id, grant_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON partner_grants TO laneway_app;
ALTER TABLE partner_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE partner_grants FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON partner_grants TO laneway_app
    USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*')
    WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*');
-- The partner sees what is granted to it, and changes nothing of it.
CREATE POLICY to_partner ON partner_grants FOR SELECT TO laneway_app
    USING (partner_id = NULLIF(current_setting('laneway.tenant', true), ''));
