//! How workers come by their jobs: what the master and they are told for it. A queue of
//! another kind is another one of these, and the figure stays the same.

/// A way of jobs to workers.
pub(crate) struct Feed {
    /// As it is shown.
    pub(crate) name: &'static str,
    /// Further arguments of the master.
    pub(crate) master: Vec<String>,
    /// Further arguments of each worker.
    pub(crate) worker: Vec<String>,
}

impl Feed {
    /// The master's own queue: workers ask it for jobs, and wait for its answer.
    pub(crate) fn embedded() -> Self {
        Self {
            name: "the master's own queue",
            master: Vec::new(),
            worker: Vec::new(),
        }
    }
}
