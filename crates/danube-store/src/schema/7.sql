-- What waits, by queue: whoever looks for a queue's oldest jobs reads only those.
CREATE INDEX jobs_pending ON jobs (queue) WHERE state = 'pending';
