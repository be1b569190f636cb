-- What administrators asked for, and what became of it. Rows only come: each hash binds
-- its row to all before it.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,        -- from 1, none left out
    entry TEXT NOT NULL,            -- JSON, hashed as it stands here
    hash BLOB NOT NULL              -- SHA-256 of the hash before, the number and the entry
) STRICT;

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'entries of the audit log never change'); END;

CREATE TRIGGER audit_keeps BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'entries of the audit log are never deleted'); END;
