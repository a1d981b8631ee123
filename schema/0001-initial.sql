-- The first schema. Times are milliseconds since 1970 UTC. Rows that lists page through are numbered by `seq`, which is never
-- used twice; what other programs see is `id`.

CREATE TABLE datasets (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE CHECK (id GLOB 'ds_*'),
  name TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('ingesting', 'ready', 'failed')),
  size INTEGER NOT NULL CHECK (size BETWEEN 16 AND 224 AND size % 8 = 0),
  identities INTEGER NOT NULL DEFAULT 0 CHECK (identities >= 0),
  images INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0),
  rejected INTEGER NOT NULL DEFAULT 0 CHECK (rejected >= 0),
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  sha256 TEXT CHECK (length(sha256) = 64),
  upload_sha256 TEXT NOT NULL CHECK (length(upload_sha256) = 64),
  error TEXT,
  created_at INTEGER NOT NULL,
  CHECK ((state = 'ready') = (sha256 IS NOT NULL)),
  CHECK ((state = 'failed') = (error IS NOT NULL))
) STRICT;
CREATE INDEX datasets_ingesting ON datasets (seq) WHERE state = 'ingesting';
CREATE INDEX datasets_blob ON datasets (sha256) WHERE sha256 IS NOT NULL;

CREATE TRIGGER datasets_state BEFORE UPDATE OF state ON datasets
WHEN NEW.state <> OLD.state AND OLD.state <> 'ingesting'
BEGIN
  SELECT RAISE(ABORT, 'illegal transition of a data set');
END;

CREATE TABLE rejects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  dataset INTEGER NOT NULL REFERENCES datasets (seq) ON DELETE CASCADE,
  path TEXT NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX rejects_dataset ON rejects (dataset);

CREATE TABLE pairs (
  dataset INTEGER NOT NULL REFERENCES datasets (seq) ON DELETE CASCADE,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  count INTEGER NOT NULL CHECK (count >= 0),
  folds INTEGER NOT NULL CHECK (folds >= 0),
  PRIMARY KEY (dataset, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX pairs_blob ON pairs (sha256);

CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE CHECK (id GLOB 'job_*'),
  type TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN
    ('queued', 'running', 'pausing', 'paused', 'canceling', 'canceled', 'succeeded', 'failed')),
  phase TEXT NOT NULL DEFAULT '',
  attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
  -- restarts of the daemon since the last new checkpoint
  restarts INTEGER NOT NULL DEFAULT 0 CHECK (restarts >= 0),
  priority INTEGER NOT NULL,
  threads INTEGER NOT NULL CHECK (threads >= 0),
  max_runtime_s INTEGER NOT NULL CHECK (max_runtime_s >= 0),
  dataset TEXT REFERENCES datasets (id) ON DELETE SET NULL,
  pairs_dataset TEXT REFERENCES datasets (id) ON DELETE SET NULL,
  pairs_name TEXT,
  spec TEXT NOT NULL,
  error TEXT,
  fraction REAL NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  epochs INTEGER NOT NULL DEFAULT 0,
  step INTEGER NOT NULL DEFAULT 0,
  total INTEGER NOT NULL DEFAULT 0,
  images_per_s REAL NOT NULL DEFAULT 0,
  eta_s REAL NOT NULL DEFAULT -1,
  loss REAL,
  runtime_s REAL NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  CHECK ((state = 'failed') = (error IS NOT NULL)),
  CHECK ((state IN ('canceled', 'succeeded', 'failed')) = (finished_at IS NOT NULL))
) STRICT;
CREATE INDEX jobs_claim ON jobs (state, priority DESC, seq);
CREATE INDEX jobs_dataset ON jobs (dataset);
CREATE INDEX jobs_pairs_dataset ON jobs (pairs_dataset);

CREATE TRIGGER jobs_start BEFORE INSERT ON jobs
WHEN NEW.state <> 'queued'
BEGIN
  SELECT RAISE(ABORT, 'a job starts as queued');
END;

CREATE TRIGGER jobs_state BEFORE UPDATE OF state ON jobs
WHEN NEW.state <> OLD.state AND OLD.state || '>' || NEW.state NOT IN (
  'queued>running', 'queued>paused', 'queued>canceled', 'queued>failed',
  'running>queued', 'running>pausing', 'running>canceling', 'running>succeeded', 'running>failed',
  'pausing>running', 'pausing>paused', 'pausing>canceling', 'pausing>succeeded', 'pausing>failed',
  'paused>queued', 'paused>canceled',
  'canceling>canceled')
BEGIN
  SELECT RAISE(ABORT, 'illegal transition of a job');
END;

CREATE TABLE transitions (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  state TEXT NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE labels (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_key ON labels (key, value);

CREATE TABLE idempotency (
  key TEXT PRIMARY KEY,
  body_sha256 TEXT NOT NULL CHECK (length(body_sha256) = 64),
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX idempotency_job ON idempotency (job);

CREATE TABLE checkpoints (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  file TEXT NOT NULL,
  epochs INTEGER NOT NULL CHECK (epochs >= 0),
  step INTEGER NOT NULL CHECK (step >= 0),
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX checkpoints_job ON checkpoints (job);

CREATE TABLE metrics (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  name TEXT NOT NULL,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  step INTEGER NOT NULL CHECK (step >= 0),
  per_epoch INTEGER NOT NULL CHECK (per_epoch IN (0, 1)),
  value REAL
) STRICT;
CREATE UNIQUE INDEX metrics_epoch ON metrics (job, name, epoch) WHERE per_epoch = 1;
CREATE INDEX metrics_job ON metrics (job);
CREATE INDEX metrics_name ON metrics (job, name);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  type TEXT NOT NULL CHECK (type IN ('state', 'metric', 'log', 'end')),
  at INTEGER NOT NULL,
  data TEXT NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job);

CREATE TABLE models (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE CHECK (id GLOB 'mdl_*'),
  job INTEGER UNIQUE REFERENCES jobs (seq) ON DELETE SET NULL,
  dataset TEXT REFERENCES datasets (id) ON DELETE SET NULL,
  audited INTEGER NOT NULL CHECK (audited IN (0, 1)),
  facts TEXT NOT NULL,
  summary TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX models_dataset ON models (dataset);

CREATE TABLE model_files (
  model INTEGER NOT NULL REFERENCES models (seq) ON DELETE CASCADE,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  size INTEGER NOT NULL CHECK (size >= 0),
  PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_files_blob ON model_files (sha256);

-- What keeps a blob alive.
CREATE VIEW blob_references AS
  SELECT sha256 FROM datasets WHERE sha256 IS NOT NULL
  UNION ALL SELECT sha256 FROM pairs
  UNION ALL SELECT sha256 FROM model_files;
