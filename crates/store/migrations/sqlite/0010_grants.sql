-- What tenants let partners read of their streams.
CREATE TABLE partner_grants (
    tenant_id   TEXT NOT NULL REFERENCES tenants (tenant_id),
    grant_id    TEXT NOT NULL,
    -- A tenant of the kind partner.
    partner_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    name        TEXT NOT NULL,
    -- JSON: names of event types, at least one.
    event_types TEXT NOT NULL,
    -- JSON: ids of devices, none for all.
    devices     TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, grant_id)
);
CREATE INDEX grants_of_partner ON partner_grants (partner_id, grant_id);
