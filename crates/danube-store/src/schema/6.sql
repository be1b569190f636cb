-- One webhook a job that named a `callback_url`. It waits with the job, is due with the
-- transaction that ends the job, and stays as its delivery log until it expires.
CREATE TABLE webhooks (
    seq INTEGER PRIMARY KEY,        -- the job's
    owner TEXT NOT NULL,            -- whose secret signs it, and who may see it
    shown TEXT NOT NULL,            -- its address without the query
    origin TEXT NOT NULL,           -- scheme, host and port: who may hold up whom
    sealed BLOB NOT NULL,           -- the whole address, whose query may hold a token
    state TEXT NOT NULL,            -- waiting (for the job), pending, delivered, failed
    attempts INTEGER NOT NULL,      -- how many there were, forgotten ones included
    round INTEGER NOT NULL,         -- how many since it was first due, or sent anew
    ended_at INTEGER,               -- when the job ended
    due_at INTEGER,                 -- of a pending one: when it is tried next
    settled_at INTEGER              -- when it was delivered or given up
) STRICT;

CREATE INDEX webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhooks_settled ON webhooks (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX webhooks_owner ON webhooks (owner);

CREATE TABLE webhook_attempts (
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    status INTEGER,                 -- of the answer, when there was one
    error TEXT,                     -- why it doesn't count as delivered
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

-- Signing secrets, sealed. The one before is good for some time after a rotation.
CREATE TABLE webhook_secrets (
    owner TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    shown INTEGER NOT NULL,         -- whether somebody has seen it
    made_at INTEGER NOT NULL,
    previous BLOB,
    previous_until INTEGER
) STRICT, WITHOUT ROWID;
