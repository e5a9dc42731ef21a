-- What a schema names of other schemas, in its order. Who refers keeps what it refers to.
CREATE TABLE schema_references (
    schema_id BIGINT NOT NULL REFERENCES schemas (id),
    position  BIGINT NOT NULL,
    name      TEXT NOT NULL,
    subject   TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    PRIMARY KEY (schema_id, position)
);
CREATE INDEX references_to_schema ON schema_references (subject, version);

GRANT SELECT, INSERT, DELETE ON schema_references TO laneway_app;
