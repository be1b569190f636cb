-- Playbook jobs. Of pipelines both columns are NULL.
ALTER TABLE jobs ADD COLUMN source_type TEXT;
ALTER TABLE jobs ADD COLUMN source TEXT;        -- as it may be shown

-- What an attempt has done so far, as JSON: the sum of its events.
CREATE TABLE playbook_runs (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    progress TEXT NOT NULL,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

-- Each thing that it did, as JSON. Goes with the job's log.
CREATE TABLE playbook_events (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (seq, attempt, n)
) STRICT, WITHOUT ROWID;
