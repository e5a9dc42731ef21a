-- What tenants use, by day: days since 1970-01-01, UTC.

-- Counted from the topics: events accepted and their bytes, devices that sent any, events
-- delivered to destinations.
CREATE TABLE usage_daily (
    tenant_id  TEXT NOT NULL,
    day        INTEGER NOT NULL,
    events     INTEGER NOT NULL DEFAULT 0,
    bytes      INTEGER NOT NULL DEFAULT 0,
    devices    INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day)
);

-- The devices that usage_daily has counted, while more may come of their day.
CREATE TABLE usage_devices (
    tenant_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, day, device_id)
);

-- How much of what a destination's cursor says was delivered in a lane is counted.
CREATE TABLE usage_delivered (
    tenant_id      TEXT NOT NULL,
    destination_id TEXT NOT NULL,
    lane           INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, destination_id, lane)
);

-- Connections of subscribers, as each node that serves them has seen since it was started (its
-- life): the most at once, and how long all of them together were open.
CREATE TABLE usage_sockets (
    tenant_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    node      TEXT NOT NULL,
    life      INTEGER NOT NULL,
    peak      INTEGER NOT NULL,
    open_us   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, node, life)
);

-- What each ingest node has let through of tenants with a quota: exact at once, where the
-- counts from the topics come a moment later.
CREATE TABLE usage_admitted (
    tenant_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    node      TEXT NOT NULL,
    events    INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, node)
);

-- Warnings that a quota is nearly used up: one a tenant, day and quota.
CREATE TABLE usage_warnings (
    tenant_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    quota     TEXT NOT NULL,
    used      INTEGER NOT NULL,
    quota_is  INTEGER NOT NULL,
    warned_at INTEGER NOT NULL,
    written   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, quota)
);

-- How far metering has come: everything below next_offset is in the tables above.
CREATE TABLE usage_positions (
    generation  INTEGER NOT NULL,
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (generation, topic, partition)
);
