-- What bounds a key: until when it is good, whose it is, and of which pipelines.
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;
ALTER TABLE api_keys ADD COLUMN account TEXT;   -- a service account: it outlives its keys
ALTER TABLE api_keys ADD COLUMN pipelines TEXT; -- JSON list of patterns; all when null
ALTER TABLE api_keys ADD COLUMN user TEXT;      -- a user of the blueprint, whose rights it has

-- Browsers that are signed in, by the hash of their token. What they may do isn't here: their key or
-- user says so at each request. With neither they came by the link of a start.
CREATE TABLE sessions (
    sha256 BLOB PRIMARY KEY,
    key_id INTEGER,
    user TEXT,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
