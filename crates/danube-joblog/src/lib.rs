//! Appends, indexes, follows and retains a job log.
