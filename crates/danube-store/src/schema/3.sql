-- Credentials. What is shown of one is JSON in metadata; its values are sealed for
-- this row alone: id, name, kind, version and metadata are bound to them. An id is
-- never given twice, so that an old sealed text fits no later credential.
CREATE TABLE credentials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    metadata TEXT NOT NULL,
    sealed BLOB NOT NULL,
    version INTEGER NOT NULL,       -- grows with each replacement
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    last_used_at INTEGER
) STRICT;

-- Which job was given which credential. By name, so that it outlives the credential.
CREATE TABLE credential_uses (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    job BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX credential_uses_name ON credential_uses (name);
