-- Whose an object is: the owner of the token that made it. NULL: it was made without a token. A model is its job's owner's.

ALTER TABLE datasets ADD COLUMN owner TEXT;
ALTER TABLE jobs ADD COLUMN owner TEXT;
ALTER TABLE models ADD COLUMN owner TEXT;

CREATE TRIGGER models_owner AFTER INSERT ON models
BEGIN
  UPDATE models SET owner = (SELECT owner FROM jobs WHERE seq = NEW.job) WHERE seq = NEW.seq;
END;
