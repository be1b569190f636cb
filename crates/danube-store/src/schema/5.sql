-- Workers on other machines: what their tokens are known by.
CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_seen_at INTEGER
) STRICT;

CREATE UNIQUE INDEX workers_live_name ON workers (name) WHERE revoked_at IS NULL;
