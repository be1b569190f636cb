//! The job database: SQLite behind one group-committing writer and a pool of readers.
