-- Signing secrets that were replaced: each signs until its own time has come, whatever
-- was replaced after it.
CREATE TABLE webhook_old_secrets (
    id INTEGER PRIMARY KEY,         -- in the order in which they were replaced
    owner TEXT NOT NULL,
    sealed BLOB NOT NULL,
    until INTEGER NOT NULL
) STRICT;

CREATE INDEX webhook_old_secrets_owner ON webhook_old_secrets (owner);

INSERT INTO webhook_old_secrets (owner, sealed, until)
    SELECT owner, previous, previous_until FROM webhook_secrets
    WHERE previous IS NOT NULL AND previous_until IS NOT NULL;

ALTER TABLE webhook_secrets DROP COLUMN previous;
ALTER TABLE webhook_secrets DROP COLUMN previous_until;

-- How often somebody asked to send it anew: an attempt that began before that must not
-- settle what was asked for since.
ALTER TABLE webhooks ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;

-- Addresses for which webhooks wait, each with its turn. So whoever looks for work reads
-- as much as there are places for, however much waits.
CREATE TABLE webhook_origins (
    origin TEXT PRIMARY KEY,
    ailing INTEGER NOT NULL,        -- whether it didn't answer the last time
    next_at INTEGER NOT NULL        -- due_at of its first webhook; of an ailing one no
                                    -- earlier than its last attempt, so that they take turns
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_origins_next ON webhook_origins (ailing, next_at);
CREATE INDEX webhooks_origin ON webhooks (origin, due_at) WHERE due_at IS NOT NULL;

INSERT INTO webhook_origins (origin, ailing, next_at)
    SELECT origin, 0, min(due_at) FROM webhooks WHERE due_at IS NOT NULL GROUP BY origin;
