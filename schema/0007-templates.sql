-- What a data set holds: pictures of faces, or templates that their owner made of them.

ALTER TABLE datasets ADD COLUMN kind TEXT NOT NULL DEFAULT 'faces' CHECK (kind IN ('faces', 'templates'));
