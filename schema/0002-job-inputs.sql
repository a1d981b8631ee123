-- What a job needs besides its data set and its pairs, by the place in its specification that names it.

CREATE TABLE job_inputs (
  job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  pointer TEXT NOT NULL,
  dataset TEXT REFERENCES datasets (id) ON DELETE SET NULL,
  model TEXT REFERENCES models (id) ON DELETE SET NULL,
  PRIMARY KEY (job, pointer),
  CHECK (dataset IS NULL OR model IS NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_inputs_dataset ON job_inputs (dataset) WHERE dataset IS NOT NULL;
CREATE INDEX job_inputs_model ON job_inputs (model) WHERE model IS NOT NULL;
