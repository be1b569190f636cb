//! Where jobs of this process that have no network call: their sockets are served by the very
//! routes that they may call, without a way over TCP.

use std::io;
use std::sync::{OnceLock, Weak};

use danube_remote::serve_door;
use danube_worker::{Door, Opened};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Handle;

use crate::app::{App, Shared};
use crate::http;

/// Serves the sockets of jobs, once the server does.
#[derive(Default)]
pub(crate) struct Relays(OnceLock<(Handle, Weak<App>)>);

impl Relays {
    /// From now on they are served. Within a runtime, before the first job begins.
    pub(crate) fn open(&self, app: &Shared) {
        // Weak: the server holds the worker, and that its dispatch and this.
        let _ = self.0.set((Handle::current(), Shared::downgrade(app)));
    }

    /// Serves one until what is returned is dropped.
    pub(crate) fn serve(&self, door: Door) -> io::Result<Opened> {
        let served = self.0.get();
        let served = served.and_then(|(runtime, app)| Some((runtime, app.upgrade()?)));
        let (runtime, app) = served.ok_or_else(|| io::Error::other("the server doesn't serve"))?;
        let routes = TowerToHyperService::new(http::routes_for_jobs(app));
        let on = move |request| {
            let answer = routes.call(request);
            async move { answer.await.map_err(|never| match never {}) }
        };
        Ok(Box::new(serve_door(runtime, door, on)?))
    }
}
