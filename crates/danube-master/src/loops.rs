//! The loops that follow the store on threads of their own: who hands out jobs, and who fills
//! Redis.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bell::Bell;
use crate::feed::{Desk, Feeder};
use crate::schedule::Scheduler;
use crate::start::{StartError, system};

/// Both, before they run.
pub(crate) struct Loops {
    pub(crate) scheduler: Scheduler,
    /// Where there is a Redis.
    pub(crate) feeder: Option<Feeder>,
    /// The scheduler's.
    pub(crate) bell: Arc<Bell>,
}

/// Both, while they run.
pub(crate) struct Running {
    threads: Vec<JoinHandle<()>>,
    bell: Arc<Bell>,
    desk: Option<Arc<Desk>>,
}

impl Loops {
    /// The first job may begin.
    pub(crate) fn start(self) -> Result<Running, StartError> {
        let desk = self.feeder.as_ref().map(|it| Arc::clone(&it.desk));
        let scheduler = self.scheduler.start();
        let mut threads = vec![scheduler.map_err(system("start the scheduler"))?];
        if let Some(feeder) = self.feeder {
            threads.push(feeder.start().map_err(system("start the queue's feed"))?);
        }
        Ok(Running {
            threads,
            bell: self.bell,
            desk,
        })
    }
}

impl Running {
    /// Waits for their ends, but no longer than this: on a disk that hangs there is none.
    pub(crate) async fn stop(self, deadline: Duration) {
        self.bell.close();
        if let Some(desk) = self.desk {
            desk.bell.close();
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                let _ = thread.join();
            }
        });
        let _ = tokio::time::timeout(deadline, joined).await;
    }
}
