-- A row of an erasure is written with what it erases; what is known only when all files are gone, its receipt, is added to the row once.

DROP TRIGGER audit_stays;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
WHEN OLD.receipt IS NOT NULL OR NEW.receipt IS NULL OR NEW.seq <> OLD.seq OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor
  OR NEW.action <> OLD.action OR NEW.object <> OLD.object OR NEW.status <> OLD.status
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;
