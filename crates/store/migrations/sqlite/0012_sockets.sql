-- How many connections of each tenant that has a limit of them each sink node has open.
CREATE TABLE socket_shares (
    tenant_id  TEXT NOT NULL,
    node       TEXT NOT NULL,
    demand     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, node)
);
