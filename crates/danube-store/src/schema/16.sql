-- What a forge asked for: where each such job comes from, and what the forge is to be told of
-- it. One row a job.
CREATE TABLE forge_jobs (
    seq INTEGER PRIMARY KEY,        -- the job's
    kind TEXT NOT NULL,             -- how the forge speaks
    name TEXT NOT NULL,             -- of the credential by which it is known
    repository TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    request INTEGER,                -- null for a push
    fork INTEGER NOT NULL,
    approved_by TEXT,
    changes INTEGER NOT NULL,       -- how often there was something new to tell
    due_at INTEGER,                 -- null while the forge knows all, or it was given up
    round INTEGER NOT NULL,         -- attempts since there was something new
    error TEXT                      -- why the last attempt came to nothing
) STRICT;
CREATE INDEX forge_jobs_due ON forge_jobs (name, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX forge_jobs_commit ON forge_jobs (commit_id);

-- Webhooks of forges that made jobs, so that one that comes again makes no other.
CREATE TABLE forge_deliveries (
    entry INTEGER PRIMARY KEY,
    name TEXT NOT NULL,             -- of the forge's credential
    delivery TEXT,                  -- the id that it gave, if it gave one
    body BLOB NOT NULL,             -- SHA-256
    jobs TEXT NOT NULL,             -- JSON list of ids
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX forge_deliveries_body ON forge_deliveries (name, body);
CREATE INDEX forge_deliveries_id ON forge_deliveries (name, delivery) WHERE delivery IS NOT NULL;
