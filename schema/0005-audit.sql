-- Who did what: ids only, so that nothing here has to be erased with a person. `actor` is a token's id, "uid:N" or "loopback";
-- `action` an operationId of the interface's document; `object` the id of a data set, job, model or token, or empty; `status` HTTP's.

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  status INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599)
) STRICT;
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_actor ON audit (actor);
CREATE INDEX audit_object ON audit (object);

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;
