-- Images of the registry: when each was first seen and last used, which no registry says.
CREATE TABLE images (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    last_used_at INTEGER NOT NULL,  -- pushed, pulled, or seen for the first time
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
