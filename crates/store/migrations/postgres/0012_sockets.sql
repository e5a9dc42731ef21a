-- How many connections of each tenant that has a limit of them each sink node has open.
CREATE TABLE socket_shares (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    node       TEXT COLLATE "C" NOT NULL,
    demand     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, node)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON socket_shares TO laneway_app;
ALTER TABLE socket_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE socket_shares FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON socket_shares TO laneway_app
USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*')
WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*');
