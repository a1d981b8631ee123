-- Networks that jobs trained on the way, to compare attacks with and to judge them by, kept for later jobs. key: a hash of all that a
-- network is determined by. It is erased with each data set it learnt from, and with the model whose weights taught it.

CREATE TABLE networks (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE CHECK (length(key) = 64),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  dataset TEXT REFERENCES datasets (id) ON DELETE CASCADE,
  public_dataset TEXT REFERENCES datasets (id) ON DELETE CASCADE,
  model TEXT REFERENCES models (id) ON DELETE CASCADE,
  used_at INTEGER NOT NULL,
  CHECK (dataset IS NOT NULL OR public_dataset IS NOT NULL)
) STRICT;
CREATE INDEX networks_blob ON networks (sha256);
CREATE INDEX networks_dataset ON networks (dataset) WHERE dataset IS NOT NULL;
CREATE INDEX networks_public_dataset ON networks (public_dataset) WHERE public_dataset IS NOT NULL;
CREATE INDEX networks_model ON networks (model) WHERE model IS NOT NULL;

DROP VIEW blob_references;
CREATE VIEW blob_references AS
  SELECT sha256 FROM datasets WHERE sha256 IS NOT NULL
  UNION ALL SELECT sha256 FROM pairs
  UNION ALL SELECT sha256 FROM model_files
  UNION ALL SELECT sha256 FROM networks;
