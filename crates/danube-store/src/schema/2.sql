-- When the log of an ended job was deleted; it stays NULL as long as there is one.
ALTER TABLE jobs ADD COLUMN log_deleted_at INTEGER;
