-- Times are milliseconds since 1970 (UTC). Rows of other tables name a job by
-- its seq. No foreign keys: one writer keeps them right, and checking them
-- would cost a lookup on every row.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,        -- order of acceptance
    id BLOB NOT NULL UNIQUE,        -- 16 bytes
    kind TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    state TEXT NOT NULL,
    trigger_type TEXT NOT NULL,
    trigger_ref TEXT,
    submitted_by TEXT NOT NULL,
    queue TEXT NOT NULL,
    retry_on_lost INTEGER NOT NULL,
    retry_of BLOB,
    trace_id TEXT NOT NULL,
    traceparent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    attempt INTEGER NOT NULL,       -- how many times it was claimed
    losses INTEGER NOT NULL,        -- how many of these lost their worker
    fence INTEGER NOT NULL,         -- grows with each claim, never falls
    moves INTEGER NOT NULL,         -- rows in transitions
    worker_id TEXT,
    cancel_by TEXT,                 -- who asked to cancel it while it was leased
    exit_code INTEGER,
    reason TEXT,
    log_bytes INTEGER NOT NULL,
    log_complete INTEGER,
    log_missing_bytes INTEGER NOT NULL
) STRICT;

-- Each index ends with the seq, so each also gives the order of acceptance:
-- this one is the queue, the leases and the list by state. There is none on
-- short ids: they are random, so each submit would write a page of its own,
-- which costs a third of the throughput. Finding one reads the index of ids.
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_pipeline ON jobs (pipeline);

-- What may hold secrets, sealed. Apart from jobs, so that lists don't read it.
CREATE TABLE orders (
    seq INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE steps (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    exit_code INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    log_start INTEGER,
    log_end INTEGER,
    cpu_seconds REAL,
    max_rss_bytes INTEGER,
    PRIMARY KEY (seq, attempt, position)
) STRICT, WITHOUT ROWID;

-- Every change of state but the submit itself, which the job's row tells.
CREATE TABLE transitions (
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    cause TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    prefix TEXT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE UNIQUE INDEX api_keys_live_name ON api_keys (name) WHERE revoked_at IS NULL;

-- Both hashes are keyed: neither the client's key nor its body can be guessed
-- from this table.
CREATE TABLE idempotency (
    entry INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    job BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
