-- Tenants that are being closed, or were: how far that is, and what went when.
CREATE TABLE closures (
    tenant_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenants (tenant_id),
    begun_at    BIGINT NOT NULL,
    -- JSON: the steps that are done.
    done        TEXT NOT NULL DEFAULT '[]',
    closed_at   BIGINT
);
CREATE INDEX open_closures ON closures (tenant_id) WHERE closed_at IS NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON closures TO laneway_app;
ALTER TABLE closures ENABLE ROW LEVEL SECURITY;
ALTER TABLE closures FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON closures TO laneway_app
    USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*')
    WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
        OR current_setting('laneway.tenant', true) = '*');
