-- Which of a model's files was asked for: guise's own name for it ("model.onnx"), of files that the model has; NULL: none was.

ALTER TABLE audit ADD COLUMN file TEXT CHECK (length(file) BETWEEN 1 AND 39);

DROP TRIGGER audit_stays;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
WHEN OLD.receipt IS NOT NULL OR NEW.receipt IS NULL OR NEW.seq <> OLD.seq OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor
  OR NEW.action <> OLD.action OR NEW.object <> OLD.object OR NEW.status <> OLD.status OR NEW.file IS NOT OLD.file
BEGIN
  SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;
