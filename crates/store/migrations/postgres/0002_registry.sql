-- A version that is deleted is left out, but found by its id, until it is deleted for good.
ALTER TABLE schema_versions ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0;

-- What has to stay compatible: of a subject, or of all that have no level of their own ('').
CREATE TABLE schema_levels (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    level   TEXT NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON schema_levels TO laneway_app;
