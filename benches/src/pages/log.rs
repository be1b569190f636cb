//! A long log in the browser: how soon its page is there, and a window of it from any line.

use std::path::Path;

use danube_bench::client::Client;
use danube_bench::rng::Rng;
use danube_bench::server::Server;

use crate::{AS_A_BROWSER, Size, percentile, timed};

/// Bytes of a line: with ten million of them some gibibyte.
const LINE_BYTES: usize = 107;

/// Prints how long its windows take, and how much they weigh.
pub(crate) fn windows(program: &Path, size: Size) {
    let limits = ["--log-head", "2GiB", "--log-total", "4GiB"];
    let server = Server::start(program, &limits, &[]);
    let mut client = Client::new(&server);
    // One process writes it, so that what is measured isn't how a shell counts.
    let script = format!(
        "awk 'BEGIN {{ for (i = 1; i <= {}; i++) printf \\\"%-{}d\\\\n\\\", i }}'",
        size.lines,
        LINE_BYTES - 1
    );
    let job = client.submit(&script);
    danube_bench::jobs::drained(&server);
    let shown = client.json(&format!("/api/v1/jobs/{job}"));
    assert_eq!(shown["status"], "success", "{shown}");
    println!(
        "\n{:<44} {:>10} {:>10} {:>10} {:>10}",
        format!("log of {} lines, {} bytes", size.lines, shown["log_bytes"]),
        "p50 ms",
        "p99 ms",
        "bytes",
        "goal ms"
    );
    let mut random = Rng::new(1);
    let mut line = || 1 + random.below(size.lines);
    let page = format!("/jobs/{job}/log");
    row(&mut client, size, ("its page", "500"), || page.clone());
    row(&mut client, size, ("its page from any line", "500"), || {
        format!("{page}?from_line={}", line())
    });
    row(&mut client, size, ("a window from any line", "100"), || {
        format!("{page}/rows?from_line={}", line())
    });
}

fn row(
    client: &mut Client,
    size: Size,
    (name, goal): (&str, &str),
    mut path: impl FnMut() -> String,
) {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..size.requests {
        let path = path();
        times.push(timed(client, &path));
        bytes = bytes.max(
            client
                .get_bytes(&path, &AS_A_BROWSER.replace("gzip", "identity"))
                .1
                .len(),
        );
    }
    println!(
        "{name:<44} {:>10.2} {:>10.2} {bytes:>10} {goal:>10}",
        percentile(&mut times, 50),
        percentile(&mut times, 99)
    );
}
