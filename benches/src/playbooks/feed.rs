//! How workers come by their jobs: what the master and they are told for it. A queue of
//! another kind is another one of these, and the figure stays the same.

use danube_bench::redis::Redis;

/// A way of jobs to workers.
pub(crate) struct Feed {
    /// As it is shown.
    pub(crate) name: &'static str,
    /// Further arguments of the master.
    pub(crate) master: Vec<String>,
    /// Environment variables of each worker.
    pub(crate) worker: Vec<(&'static str, String)>,
    _redis: Option<Redis>,
}

impl Feed {
    /// The master's own queue: workers ask it for jobs, and wait for its answer.
    pub(crate) fn embedded() -> Self {
        Self {
            name: "the master's own queue",
            master: Vec::new(),
            worker: Vec::new(),
            _redis: None,
        }
    }

    /// Workers hear of jobs in a Redis of their own.
    pub(crate) fn redis() -> Self {
        let redis = Redis::start();
        Self {
            name: "Redis",
            master: vec!["--queue-url".to_owned(), redis.url()],
            worker: vec![("DANUBE_QUEUE_URL", redis.url())],
            _redis: Some(redis),
        }
    }
}
