//! What things are called in Redis.

/// The consumer group of every stream: all workers together, so that each entry goes to
/// one of them.
pub const GROUP: &str = "workers";

/// The keys of one master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The stream of a queue.
    pub(crate) fn stream(&self, queue: &str) -> String {
        format!("{}:queue:{queue}", self.prefix)
    }

    /// The queue of a stream.
    pub(crate) fn queue<'a>(&self, stream: &'a str) -> Option<&'a str> {
        stream.strip_prefix(&self.prefix)?.strip_prefix(":queue:")
    }

    /// What tells whether everything is still there.
    pub(crate) fn epoch(&self) -> String {
        format!("{}:epoch", self.prefix)
    }

    /// The set of all queues that have or had a stream.
    pub(crate) fn queues(&self) -> String {
        format!("{}:queues", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_leads_back_to_its_queue() {
        let names = Names::new("danube:0a1b");
        assert_eq!(names.stream("deploy"), "danube:0a1b:queue:deploy");
        assert_eq!(names.queue("danube:0a1b:queue:deploy"), Some("deploy"));
        assert_eq!(names.queue("danube:0a1c:queue:deploy"), None);
        assert_eq!(names.queue("danube:0a1b:epoch"), None);
    }
}
