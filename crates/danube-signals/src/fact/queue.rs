//! Redis, which carries what waits to workers elsewhere.

use super::fact;

fact! {
    /// Redis is there, at the start or again.
    QueueConnected<'a> = "queue_connected", INFO, "danube.queue";
    {
        /// Its address, without the password.
        server: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// Redis can't be used; workers ask the master for jobs meanwhile.
    QueueDisconnected<'a> = "queue_disconnected", WARN, "danube.queue";
    {
        /// Its address, without the password.
        server: &'a str,
        error: &'a str,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// The streams were brought in line with what waits: at the start, and after Redis was
    /// away or lost something.
    QueueRefilled<'a> = "queue_refilled", INFO, "danube.queue";
    {
        /// Its address, without the password.
        server: &'a str,
        /// Entries that were there already.
        found: u64,
        /// Entries that were removed, since their jobs wait no more.
        removed: u64,
        /// Entries that were added.
        added: u64,
        /// Why it was looked at: `start`, `reconnected` or `lost`.
        reason: &'a str,
    }
    also {}
    metrics |_, _| {}
}
