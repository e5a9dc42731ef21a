-- In which database what the stream writes of a tenant is: the name of a shard, '' for this one.
ALTER TABLE tenants ADD COLUMN shard TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Tenants that are being created in several steps, and how far that is.
CREATE TABLE creations (
    tenant_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- What its slug looks like: no other one may look the same.
    appearance TEXT COLLATE "C" NOT NULL UNIQUE,
    shard      TEXT COLLATE "C" NOT NULL,
    -- reserved, placed, undoing
    step       TEXT NOT NULL,
    begun_at   BIGINT NOT NULL
);

-- In a shard: the tenants that it is for. One that is there alone has it to itself, with those
-- below it.
CREATE TABLE shard_tenants (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    alone     BIGINT NOT NULL,
    since     BIGINT NOT NULL
);
CREATE UNIQUE INDEX one_alone ON shard_tenants (alone) WHERE alone = 1;

GRANT SELECT, INSERT, UPDATE, DELETE ON creations, shard_tenants TO laneway_app;
DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['creations', 'shard_tenants'] LOOP
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
END
$$;
