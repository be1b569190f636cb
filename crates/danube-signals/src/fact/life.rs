//! Facts about the loops of a process, told by its watchdog.

use std::time::Duration;

use super::fact;
use crate::labels::LoopName;

fact! {
    /// A loop of this process gives no sign of life. `GET /health` fails, and the service
    /// manager that asked for it hears nothing more, until the loop goes on.
    LoopStalled = "loop_stalled", ERROR, "danube.health";
    {
        /// Which.
        loop_name: LoopName,
        /// For how long, in looks of the watchdog.
        silent_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}

fact! {
    /// A loop that had stalled goes on.
    LoopResumed = "loop_resumed", INFO, "danube.health";
    {
        /// Which.
        loop_name: LoopName,
        /// How long it was silent.
        silent_seconds: Duration,
    }
    also {}
    metrics |_, _| {}
}
