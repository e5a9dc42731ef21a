-- What a tenant says of its devices, credentials for a time, and keys by which devices enrol.
ALTER TABLE devices ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- Empty for a device that is in none.
ALTER TABLE devices ADD COLUMN device_group TEXT NOT NULL DEFAULT '';
-- As JSON, for reading; the rows of device_labels are for finding.
ALTER TABLE devices ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE devices ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
-- The control version of the last change; below since for a device that was never changed.
ALTER TABLE devices ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX devices_of_group ON devices (tenant_id, device_group, device_id);
CREATE INDEX devices_disabled ON devices (tenant_id, device_id) WHERE disabled = 1;

CREATE TABLE device_labels (
    tenant_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (tenant_id, device_id, name),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
);
CREATE INDEX devices_by_label ON device_labels (tenant_id, name, value, device_id);

-- Several passwords at a time, while a device goes from one to the next.
DROP INDEX one_password_a_device;
ALTER TABLE credentials ADD COLUMN not_before INTEGER;
ALTER TABLE credentials ADD COLUMN expires_at INTEGER;
ALTER TABLE credentials ADD COLUMN last_used_at INTEGER;

CREATE TABLE provisioning_keys (
    tenant_id  TEXT NOT NULL REFERENCES tenants (tenant_id),
    key_id     TEXT NOT NULL,
    name       TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE CHECK (token_hash <> ''),
    -- What the ids of its devices look like.
    pattern    TEXT NOT NULL,
    -- What its devices get, as JSON.
    details    TEXT NOT NULL,
    -- 0 for no bound.
    max_uses   INTEGER NOT NULL,
    uses       INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);

-- How a device came in by itself. It stays when the key is gone.
CREATE TABLE enrolments (
    tenant_id     TEXT NOT NULL,
    device_id     TEXT NOT NULL,
    key_id        TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    -- Keyed hash of what proves that a request is the same device's once more.
    proof_hash    TEXT,
    hardware      TEXT NOT NULL,
    enrolled_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices (tenant_id, device_id)
);

-- When the newest of its fixes to arrive was received, which need not be the latest one.
ALTER TABLE latest_positions ADD COLUMN received_at INTEGER;
