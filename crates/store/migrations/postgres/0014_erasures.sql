-- Devices that were erased while something that they had sent may have been on its way.
CREATE TABLE erasures (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    device_id      TEXT COLLATE "C" NOT NULL,
    asked_at       BIGINT NOT NULL,
    -- What was accepted before is waited for.
    accepted_until BIGINT NOT NULL,
    -- When it had been through the processor.
    processed_at   BIGINT,
    PRIMARY KEY (tenant_id, device_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON erasures TO laneway_app;
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON erasures TO laneway_app
USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*')
WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
    OR current_setting('laneway.tenant', true) = '*');
