-- What tenants use, by day: days since 1970-01-01, UTC.

-- Counted from the topics: events accepted and their bytes, devices that sent any, events
-- delivered to destinations.
CREATE TABLE usage_daily (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    day        BIGINT NOT NULL,
    events     BIGINT NOT NULL DEFAULT 0,
    bytes      BIGINT NOT NULL DEFAULT 0,
    devices    BIGINT NOT NULL DEFAULT 0,
    deliveries BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day)
);

-- The devices that usage_daily has counted, while more may come of their day.
CREATE TABLE usage_devices (
    tenant_id TEXT COLLATE "C" NOT NULL,
    day       BIGINT NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, day, device_id)
);

-- How much of what a destination's cursor says was delivered in a lane is counted.
CREATE TABLE usage_delivered (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    destination_id TEXT COLLATE "C" NOT NULL,
    lane           BIGINT NOT NULL,
    total          BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, destination_id, lane)
);

-- Connections of subscribers, as each node that serves them has seen since it was started (its
-- life): the most at once, and how long all of them together were open.
CREATE TABLE usage_sockets (
    tenant_id TEXT COLLATE "C" NOT NULL,
    day       BIGINT NOT NULL,
    node      TEXT COLLATE "C" NOT NULL,
    life      BIGINT NOT NULL,
    peak      BIGINT NOT NULL,
    open_us   BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, day, node, life)
);

-- What each ingest node has let through of tenants with a quota: exact at once, where the
-- counts from the topics come a moment later.
CREATE TABLE usage_admitted (
    tenant_id TEXT COLLATE "C" NOT NULL,
    day       BIGINT NOT NULL,
    node      TEXT COLLATE "C" NOT NULL,
    events    BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, day, node)
);

-- Warnings that a quota is nearly used up: one a tenant, day and quota.
CREATE TABLE usage_warnings (
    tenant_id TEXT COLLATE "C" NOT NULL,
    day       BIGINT NOT NULL,
    quota     TEXT COLLATE "C" NOT NULL,
    used      BIGINT NOT NULL,
    quota_is  BIGINT NOT NULL,
    warned_at BIGINT NOT NULL,
    written   BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, day, quota)
);

-- How far metering has come: everything below next_offset is in the tables above.
CREATE TABLE usage_positions (
    generation  BIGINT NOT NULL,
    topic       TEXT COLLATE "C" NOT NULL,
    partition   BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (generation, topic, partition)
);

GRANT SELECT, DELETE ON usage_daily, usage_devices, usage_delivered, usage_sockets, usage_warnings
    TO laneway_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_admitted TO laneway_app;
GRANT SELECT ON usage_positions TO laneway_app;
GRANT SELECT, INSERT, UPDATE ON usage_daily, usage_sockets, usage_warnings, usage_positions
    TO laneway_projector;
GRANT SELECT, INSERT ON usage_devices TO laneway_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_delivered TO laneway_projector;

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'usage_daily', 'usage_devices', 'usage_delivered', 'usage_sockets', 'usage_admitted',
        'usage_warnings'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format($policy$
            CREATE POLICY of_tenant ON %I TO laneway_app
            USING (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
                OR current_setting('laneway.tenant', true) = '*')
            WITH CHECK (tenant_id = NULLIF(current_setting('laneway.tenant', true), '')
                OR current_setting('laneway.tenant', true) = '*')
        $policy$, name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'usage_daily', 'usage_devices', 'usage_delivered', 'usage_sockets', 'usage_warnings'
    ] LOOP
        EXECUTE format($policy$
            CREATE POLICY of_metering ON %I TO laneway_projector
            USING (tenant_id = ANY (string_to_array(current_setting('laneway.tenants', true), ',')))
            WITH CHECK (tenant_id = ANY (string_to_array(current_setting('laneway.tenants', true), ',')))
        $policy$, name);
    END LOOP;
END
$$;
