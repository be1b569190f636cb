-- Who of the blueprint's users submitted a job. What no pipeline of the blueprint rules
-- belongs to them, whatever a key of the same name did.
CREATE TABLE job_users (
    seq INTEGER PRIMARY KEY,        -- of the job
    user TEXT NOT NULL
) STRICT;
CREATE INDEX job_users_user ON job_users (user);
