-- Secrets of pipelines. An id is never given twice, so that an old sealed text fits no
-- later secret.
CREATE TABLE secrets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,         -- whose it is; empty for every pipeline that names it
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    version INTEGER NOT NULL,       -- grows with each replacement
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    last_used_at INTEGER,
    UNIQUE (name, pipeline)
) STRICT;
