-- Tenants that are being closed, or were: how far that is, and what went when.
CREATE TABLE closures (
    tenant_id   TEXT NOT NULL PRIMARY KEY REFERENCES tenants (tenant_id),
    begun_at    INTEGER NOT NULL,
    -- JSON: the steps that are done.
    done        TEXT NOT NULL DEFAULT '[]',
    closed_at   INTEGER
);
CREATE INDEX open_closures ON closures (tenant_id) WHERE closed_at IS NULL;
