-- Turns. Whose share of the workers a job takes, and how many of its pipeline may run at once,
-- as its pipeline said when it was submitted.
ALTER TABLE jobs ADD COLUMN team TEXT NOT NULL DEFAULT '';      -- empty for none
ALTER TABLE jobs ADD COLUMN concurrency INTEGER;                -- null for any number
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT '';      -- the pipeline, where that is bounded

-- What waits, by queue, team and pipeline whose number is bounded: whoever looks for what may
-- begin passes over a team or a pipeline without reading what waits there.
DROP INDEX jobs_pending;
CREATE INDEX jobs_pending ON jobs (queue, team, lane) WHERE state = 'pending';

-- What a job is about, as a keyed hash: a newer one about the same cancels it.
ALTER TABLE jobs ADD COLUMN subject BLOB;                       -- null where none does
ALTER TABLE jobs ADD COLUMN superseded_by BLOB;                 -- the job that did

CREATE INDEX jobs_subject ON jobs (subject)
    WHERE subject IS NOT NULL AND state IN ('pending', 'scheduling', 'running');
