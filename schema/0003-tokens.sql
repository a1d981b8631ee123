-- Bearer tokens. The secret is not here: `hash` is BLAKE2b-256 of it. A revoked token stays, so that its id still tells whose it was.

CREATE TABLE tokens (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE CHECK (id GLOB 'tok_*'),
  name TEXT NOT NULL CHECK (length(name) > 0),
  owner TEXT NOT NULL CHECK (length(owner) > 0),
  hash TEXT NOT NULL CHECK (length(hash) = 64),
  -- names of access.c, separated by spaces
  scopes TEXT NOT NULL CHECK (length(scopes) > 0),
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;
