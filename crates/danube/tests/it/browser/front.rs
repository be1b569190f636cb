//! What stands before a server, as a proxy does: its address is known before the server is there.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// It ends with the test's process.
pub(crate) struct Front {
    /// `http://localhost:PORT`: for a browser another site than `127.0.0.1`.
    pub(crate) address: String,
    to: Arc<Mutex<Option<String>>>,
}

impl Front {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let to: Arc<Mutex<Option<String>>> = Arc::default();
        let leads = Arc::clone(&to);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever comes before there is a server is sent away.
                let to = leads.lock().unwrap().clone();
                if let Some(server) = to.and_then(|it| TcpStream::connect(it).ok()) {
                    let _ = join(stream, server);
                }
            }
        });
        Self {
            address: format!("http://localhost:{port}"),
            to,
        }
    }

    /// Leads to the server at this address from now on.
    pub(crate) fn lead_to(&self, address: &str) {
        let to = address.strip_prefix("http://").unwrap().to_owned();
        *self.to.lock().unwrap() = Some(to);
    }
}

/// Hands on what either says, until one has nothing more to say.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
