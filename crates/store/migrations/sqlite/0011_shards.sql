-- In which database what the stream writes of a tenant is: the name of a shard, '' for this one.
ALTER TABLE tenants ADD COLUMN shard TEXT NOT NULL DEFAULT '';

-- Tenants that are being created in several steps, and how far that is.
CREATE TABLE creations (
    tenant_id  TEXT NOT NULL PRIMARY KEY,
    -- What its slug looks like: no other one may look the same.
    appearance TEXT NOT NULL UNIQUE,
    shard      TEXT NOT NULL,
    -- reserved, placed, undoing
    step       TEXT NOT NULL,
    begun_at   INTEGER NOT NULL
);

-- In a shard: the tenants that it is for. One that is there alone has it to itself, with those
-- below it.
CREATE TABLE shard_tenants (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    alone     INTEGER NOT NULL,
    since     INTEGER NOT NULL
);
CREATE UNIQUE INDEX one_alone ON shard_tenants (alone) WHERE alone = 1;
