-- The audit trail: a chain of entries a tenant, each bound to the one before it by a hash.
-- Commitments stand in the chain for what is personal; docs/audit.md has the encoding.
CREATE TABLE audit_entries (
    tenant_id        TEXT NOT NULL,
    seq              INTEGER NOT NULL CHECK (seq > 0),
    at               INTEGER NOT NULL,
    action           TEXT NOT NULL,
    target           TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    principal        TEXT NOT NULL,
    principal_tenant TEXT NOT NULL,
    request_tenant   TEXT NOT NULL,
    request_id       TEXT NOT NULL,
    count            INTEGER NOT NULL,
    first_at         INTEGER NOT NULL,
    last_at          INTEGER NOT NULL,
    detail           TEXT NOT NULL,
    address          TEXT NOT NULL,
    user_agent       TEXT NOT NULL,
    name             TEXT NOT NULL,
    previous         TEXT NOT NULL,
    hash             TEXT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX audit_entries_by_time ON audit_entries (tenant_id, at);
CREATE INDEX audit_entries_by_principal ON audit_entries (tenant_id, principal, seq);
CREATE INDEX audit_entries_by_action ON audit_entries (tenant_id, action, seq);

-- How long each chain is, and its last hash: whoever appends locks this row.
CREATE TABLE audit_heads (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    seq       INTEGER NOT NULL,
    hash      TEXT NOT NULL
);

-- What commitments were made to, with their salts. May be erased; the chain still verifies.
CREATE TABLE audit_personal (
    tenant_id TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    field     TEXT NOT NULL,
    principal TEXT NOT NULL,
    salt      TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (tenant_id, seq, field)
);
CREATE INDEX audit_personal_of_principal ON audit_personal (tenant_id, principal);

-- The chain is appended to; what is in it is neither changed, nor replaced, nor removed.
CREATE TRIGGER audit_entries_are_not_changed BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit trail cannot be changed');
END;
CREATE TRIGGER audit_entries_are_not_removed BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit trail cannot be removed');
END;
CREATE TRIGGER audit_entries_are_not_replaced BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit trail cannot be replaced');
END;
