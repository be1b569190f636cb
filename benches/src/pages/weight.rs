//! How much a browser loads that has never been here.

use danube_bench::client::Client;
use danube_bench::server::Server;

use crate::AS_A_BROWSER;

/// What the first load may weigh, packed.
const GOAL_BYTES: usize = 100 * 1024;

/// What the script may weigh, packed.
const SCRIPT_GOAL_BYTES: usize = 40 * 1024;

/// Prints the bytes of the first page with all that it loads.
pub(crate) fn first_load(server: &Server) {
    let mut client = Client::new(server);
    let page = client.get("/");
    let (_, packed) = client.get_bytes("/", AS_A_BROWSER);
    println!("{:<26} {:>10} {:>10}", "first load", "bytes", "packed");
    println!("{:<26} {:>10} {:>10}", "page", page.len(), packed.len());
    let (mut whole, mut script) = (packed.len(), 0);
    let mut left = addresses(&page);
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = left.pop() {
        if seen.contains(&path) {
            continue;
        }
        let (_, plain) = client.get_bytes(&path, "");
        let (_, packed) = client.get_bytes(&path, "accept-encoding: gzip\r\n");
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        println!("{name:<26} {:>10} {:>10}", plain.len(), packed.len());
        whole += packed.len();
        if let Some((folder, _)) = path.rsplit_once('/').filter(|_| name.ends_with(".js")) {
            script += packed.len();
            left.extend(imports(&String::from_utf8_lossy(&plain), folder));
        }
        seen.push(path);
    }
    println!(
        "{:<26} {:>10} {whole:>10}   goal {GOAL_BYTES}",
        "all of it", ""
    );
    println!(
        "{:<26} {:>10} {script:>10}   goal {SCRIPT_GOAL_BYTES}",
        "of that script", ""
    );
}

/// The files that a page names.
fn addresses(page: &str) -> Vec<String> {
    let named = page.split('"').filter(|it| it.starts_with("/assets/"));
    named.map(str::to_owned).collect()
}

/// The modules that a module names.
fn imports(script: &str, folder: &str) -> Vec<String> {
    let named = script.split('"').filter_map(|it| it.strip_prefix("./"));
    let modules = named.filter(|it| it.ends_with(".js"));
    modules.map(|it| format!("{folder}/{it}")).collect()
}
