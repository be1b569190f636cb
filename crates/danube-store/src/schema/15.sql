-- The blueprint: what was last taken from its repository whole, and why the last attempt
-- took nothing. Sealed, because environments of pipelines may hold what isn't everybody's.
CREATE TABLE blueprint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    location TEXT NOT NULL,         -- which repository and branch, without a login
    commit_id TEXT,                 -- in force; null where none was ever taken
    synced_at INTEGER,              -- when it was taken
    sealed BLOB,                    -- what it declares
    failure BLOB                    -- null where the last attempt was good
) STRICT;

-- Up to which time each trigger of time was looked at, so that a server that was down knows
-- what it missed.
CREATE TABLE cron_times (
    trigger TEXT PRIMARY KEY,       -- the pipeline, and a hash of all that the trigger says
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
