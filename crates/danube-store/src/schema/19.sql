-- What forges asked for while no more jobs could wait, in the order in which it came.
CREATE TABLE forge_inbox (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,             -- how the forge speaks
    name TEXT NOT NULL,             -- of the credential by which it is known
    repository TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    request INTEGER,                -- null for a push
    fork INTEGER NOT NULL,
    user TEXT NOT NULL,             -- at the forge
    delivery INTEGER NOT NULL,      -- of forge_deliveries: hears of the job
    bytes INTEGER NOT NULL,         -- of its texts
    at INTEGER NOT NULL,
    UNIQUE (name, pipeline, git_ref, commit_id)
) STRICT;
CREATE INDEX forge_inbox_pipeline ON forge_inbox (pipeline, entry);

-- What is to be told, or was given up.
CREATE INDEX forge_jobs_untold ON forge_jobs (seq) WHERE due_at IS NOT NULL OR error IS NOT NULL;
