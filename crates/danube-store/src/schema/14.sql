-- Whether the time and the size that artifacts are kept pass over one: somebody said so.
ALTER TABLE artifacts ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
