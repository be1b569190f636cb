//! A real Redis that keeps nothing on disk, and the least client that a floor needs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long it may take until it answers.
const READY_MAX: Duration = Duration::from_secs(10);

/// A running Redis. Killed when dropped.
pub struct Redis {
    child: Child,
    address: String,
}

impl Redis {
    /// One on a free port.
    pub fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a free port");
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start redis-server");
        let redis = Self {
            child,
            address: address.to_string(),
        };
        let began = Instant::now();
        while TcpStream::connect(&redis.address).is_err() {
            assert!(began.elapsed() < READY_MAX, "Redis doesn't answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    /// What `queue.url` is to say.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Raw `XADD`s a second of entries like ours, from so many connections, each waiting for
    /// its answer.
    pub fn xadds(&self, count: usize, clients: usize) -> f64 {
        let left = AtomicUsize::new(count);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let stream = TcpStream::connect(&self.address).expect("connect");
                    stream.set_nodelay(true).expect("set an option");
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    let take = |it: usize| it.checked_sub(1);
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                        .is_ok()
                    {
                        let words = [
                            "XADD",
                            "floor",
                            "*",
                            "job",
                            "01a21865-481d-718c-b1ab-958868c041db",
                            "traceparent",
                            "00-48babfa307f0768a8adb480f73b2a6bb-08b68d5807faef16-01",
                        ];
                        let mut command = format!("*{}\r\n", words.len());
                        for word in words {
                            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
                        }
                        stream
                            .get_mut()
                            .write_all(command.as_bytes())
                            .expect("send");
                        for _ in 0..2 {
                            line.clear();
                            stream.read_line(&mut line).expect("an answer");
                        }
                    }
                });
            }
        });
        per_second(count, began)
    }
}

/// So many since then, a second.
pub fn per_second(count: usize, began: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let count = count as f64;
    count / began.elapsed().as_secs_f64()
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
