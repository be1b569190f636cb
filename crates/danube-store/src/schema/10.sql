-- Files that jobs left. Their bytes lie in the data directory under `file`, a name of ours;
-- `name` is the job's own and never part of a path.
CREATE TABLE artifacts (
    seq INTEGER NOT NULL,           -- of the job
    name TEXT NOT NULL,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    step TEXT,                      -- which step left it, if it said so
    attempt INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (seq, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifacts_created ON artifacts (created_at);
