//! A real registry in a process of its own, and the images that a real client takes there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::peers::find;

/// A running registry that somebody else looks after. Killed when dropped.
pub(crate) struct DockerRegistry {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    dir: TempDir,
    /// What stands in its configuration beside where it listens and keeps things.
    more: String,
    deletes: bool,
}

impl DockerRegistry {
    /// One on a free port.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, address) = launch(dir.path(), "127.0.0.1:0", ("", true));
        Self {
            child,
            address,
            dir,
            more: String::new(),
            deletes: true,
        }
    }

    /// One that refuses to delete anything, as it does by itself.
    #[track_caller]
    pub(crate) fn that_keeps_everything() -> Self {
        let mut registry = Self::start();
        registry.kill();
        registry.deletes = false;
        registry.start_again();
        registry
    }

    /// What `registry.url` is to say.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has it tell a master of what happens, from a start of its own on.
    #[track_caller]
    pub(crate) fn tell(&mut self, master: &str, token: &str) {
        self.kill();
        self.more = format!(
            "notifications:\n  endpoints:\n    - name: danube\n      url: {master}/registry/notifications\n      headers:\n        Authorization: [Bearer {token}]\n      timeout: 5s\n      threshold: 5\n      backoff: 1s\n"
        );
        self.start_again();
    }

    /// SIGKILL, and the end of the process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another one at the same place with the same images, after this one was killed.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        let (child, _) = launch(self.dir.path(), &self.address, (&self.more, self.deletes));
        self.child = child;
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one; where it listens.
#[track_caller]
fn launch(dir: &Path, listen: &str, (more, deletes): (&str, bool)) -> (Child, String) {
    let config = dir.join("config.yml");
    let store = dir.join("store");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: {deletes}\nhttp:\n  addr: {listen}\n{more}",
        store.display()
    );
    fs::write(&config, text).unwrap();
    let mut child = Command::new(find(&["docker-registry", "registry"]))
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line = line.unwrap();
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(['"', ' ', ',']).next().map(str::to_owned)
    });
    let address = address.expect("the registry serves; `make deps` installs it");
    // It must never wait for somebody who reads.
    thread::spawn(move || lines.for_each(drop));
    (child, address)
}

/// An image in a directory of its own, as OCI lays it out: one layer with one file.
pub(crate) struct Image(TempDir);

impl Image {
    /// One whose bytes are those of no image with another `content`.
    pub(crate) fn with(content: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let blob = |bytes: &[u8], kind: &str| {
            let hash: String = Sha256::digest(bytes)
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect();
            fs::write(blobs.join(&hash), bytes).unwrap();
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{hash}"), "size": bytes.len()})
        };
        let tar = tar("file", content);
        let mut packed = GzEncoder::new(Vec::new(), Compression::none());
        std::io::Write::write_all(&mut packed, &tar).unwrap();
        let layer = blob(&packed.finish().unwrap(), "layer.v1.tar+gzip");
        let inner: String = Sha256::digest(&tar)
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{inner}")]},
        });
        let config = blob(config.to_string().as_bytes(), "config.v1+json");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer],
        });
        let manifest = blob(manifest.to_string().as_bytes(), "manifest.v1+json");
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(dir.path().join("oci-layout"), layout.to_string()).unwrap();
        Self(dir)
    }

    /// Pushes it; panics unless the registry took it.
    #[track_caller]
    pub(crate) fn push(&self, registry: &str, name: &str) {
        let to = format!("docker://{registry}/{name}");
        let from = format!("oci:{}", self.0.path().display());
        let output = copy(&from, &to);
        assert!(output.status.success(), "{output:?}");
    }
}

/// Pulls an image into a directory that goes again; what skopeo said.
pub(crate) fn pull(registry: &str, name: &str) -> Output {
    let own = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", own.path().join("image").display());
    copy(&format!("docker://{registry}/{name}"), &to)
}

fn copy(from: &str, to: &str) -> Output {
    Command::new(find(&["skopeo"]))
        .args(["--insecure-policy", "copy"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([from, to])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// An archive with one file in it.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = [0_u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..107].copy_from_slice(b"0000644");
    head[108..115].copy_from_slice(b"0000000");
    head[116..123].copy_from_slice(b"0000000");
    head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    head[136..147].copy_from_slice(b"00000000000");
    head[148..156].copy_from_slice(b"        ");
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|it| u32::from(*it)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = content.len().next_multiple_of(512) - content.len() + 1_024;
    [&head[..], content, &vec![0; padding]].concat()
}
