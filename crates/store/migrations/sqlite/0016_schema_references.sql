-- What a schema names of other schemas, in its order. Who refers keeps what it refers to.
CREATE TABLE schema_references (
    schema_id INTEGER NOT NULL REFERENCES schemas (id),
    position  INTEGER NOT NULL,
    name      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (schema_id, position)
);
CREATE INDEX references_to_schema ON schema_references (subject, version);
