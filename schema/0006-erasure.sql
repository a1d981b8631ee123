-- Erasures leave a receipt (JSON: what went, how much, sha256 of the files; ids only) in the audit trail, and a mark on the models
-- that had been made from what was erased.

ALTER TABLE audit ADD COLUMN receipt TEXT;
ALTER TABLE models ADD COLUMN erasures INTEGER NOT NULL DEFAULT 0 CHECK (erasures >= 0);

-- A job that the machine's state failed (a full disk, no memory) is queued again and not claimed before retry_at. Its log goes some
-- time after its end.

ALTER TABLE jobs ADD COLUMN retry_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN log_pruned INTEGER NOT NULL DEFAULT 0 CHECK (log_pruned IN (0, 1));
CREATE INDEX jobs_log ON jobs (finished_at) WHERE log_pruned = 0 AND finished_at IS NOT NULL;
