-- A data set that failed is ingested again when its bytes are sent again: what failed it may have been put right.

DROP TRIGGER datasets_state;
CREATE TRIGGER datasets_state BEFORE UPDATE OF state ON datasets
WHEN NEW.state <> OLD.state AND OLD.state <> 'ingesting' AND NOT (OLD.state = 'failed' AND NEW.state = 'ingesting')
BEGIN
  SELECT RAISE(ABORT, 'illegal transition of a data set');
END;
