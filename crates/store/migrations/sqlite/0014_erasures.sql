-- Devices that were erased while something that they had sent may have been on its way.
CREATE TABLE erasures (
    tenant_id      TEXT NOT NULL,
    device_id      TEXT NOT NULL,
    asked_at       INTEGER NOT NULL,
    -- What was accepted before is waited for.
    accepted_until INTEGER NOT NULL,
    -- When it had been through the processor.
    processed_at   INTEGER,
    PRIMARY KEY (tenant_id, device_id)
);
