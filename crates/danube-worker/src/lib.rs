//! Claims, runs and reports jobs.
