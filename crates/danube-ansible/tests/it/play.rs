//! Runs a playbook in a directory of its own, and takes down what is told and printed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use danube_ansible::{Credentials, Failed, Hear, Heard, Listener, Run, Vault, failed, prepare};
use danube_model::playbook::{Options, Progress, RunEvent};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What a test may ask for.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) options: Options,
    pub(crate) extra_vars: Map<String, Value>,
    pub(crate) vault: Option<&'static str>,
    /// `ANSIBLE_DEBUG=1`
    pub(crate) debug: bool,
    /// Nobody listens on the socket.
    pub(crate) is_deaf: bool,
}

/// What came of it.
pub(crate) struct Played {
    pub(crate) code: i32,
    /// Both streams in one.
    pub(crate) output: String,
    pub(crate) events: Vec<RunEvent>,
    pub(crate) progress: Progress,
    pub(crate) secrets: BTreeSet<String>,
    /// How much had been printed when each secret was told.
    known_at: Vec<(String, usize)>,
}

impl Played {
    pub(crate) fn failed(&self) -> Option<Failed> {
        failed(self.code, &self.progress, &self.output)
    }

    /// How much was printed when the value was told, and where it was printed first.
    pub(crate) fn order_of(&self, value: &str) -> (usize, usize) {
        let known = self.known_at.iter().find(|(it, _)| it == value);
        let printed = self.output.find(value).expect("it was printed");
        (known.expect("it was told").1, printed)
    }
}

/// Takes down what is told, and how much had been printed then.
struct Notes {
    printed: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<(usize, Heard)>>>,
}

impl Hear for Notes {
    fn hear(&mut self, heard: Heard) {
        let at = self.printed.lock().unwrap().len();
        self.heard.lock().unwrap().push((at, heard));
    }
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

pub(crate) fn play(files: &[(&str, &str)], ask: impl FnOnce(&mut Asked)) -> Played {
    let mut asked = Asked::default();
    ask(&mut asked);
    let dir = tempfile::tempdir().unwrap();
    let (source, private) = (dir.path().join("source"), dir.path().join("run"));
    fs::create_dir_all(&private).unwrap();
    write(
        &source,
        &[("hosts", "localhost ansible_connection=local\n")],
    );
    write(&source, files);
    let credentials = Credentials {
        vaults: asked.vault.into_iter().map(vault).collect(),
        ..Credentials::default()
    };
    let run = Run {
        playbook: "site.yml",
        inventories: &[PathBuf::from("hosts")],
        is_plain_inventory: false,
        installed: None,
        options: &asked.options,
        extra_vars: &asked.extra_vars,
        credentials: &credentials,
        directory: &source,
        home: dir.path(),
        fold_key: None,
    };
    let listener = Listener::bind(&private, None).unwrap();
    let prepared = prepare(&private, None, &run, listener.path()).unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = {
        let ear = Notes {
            printed: Arc::clone(&printed),
            heard: Arc::clone(&heard),
        };
        (!asked.is_deaf).then(|| listener.listen(ear).unwrap())
    };
    let mut command = Command::new(&prepared.argv[0]);
    command
        .args(&prepared.argv[1..])
        .env_clear()
        .envs(prepared.env)
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HOME", dir.path())
        .env("LANG", "C.UTF-8")
        .current_dir(&source)
        .stdin(Stdio::null());
    if asked.debug {
        command.env("ANSIBLE_DEBUG", "1");
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().expect("ansible-playbook is installed");
    // Its ends of the pipe must go, or the end never comes.
    drop(command);
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = reader.read(&mut bytes).unwrap();
        if count == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes[..count]);
        printed.lock().unwrap().push_str(&text);
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    drop(listening);
    let output = printed.lock().unwrap().clone();
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    told(code, output, heard)
}

fn told(code: i32, output: String, heard: Vec<(usize, Heard)>) -> Played {
    let mut played = Played {
        code,
        output,
        events: Vec::new(),
        progress: Progress::default(),
        secrets: BTreeSet::new(),
        known_at: Vec::new(),
    };
    for (at, it) in heard {
        match it {
            Heard::Event { event, .. } => {
                played.progress.add(&event);
                played.events.push(event);
            }
            Heard::Secrets(values) => {
                for value in values {
                    let value = String::from_utf8(value.to_vec()).unwrap();
                    played.known_at.push((value.clone(), at));
                    played.secrets.insert(value);
                }
            }
        }
    }
    played
}

fn vault(password: &str) -> Vault {
    Vault {
        id: None,
        password: Zeroizing::new(password.to_owned()),
    }
}

/// A text that `ansible-vault` encrypts with this password, indented as a value in YAML.
pub(crate) fn vaulted(text: &str, password: &str) -> String {
    let encrypted = vaulted_file(text, password);
    encrypted.lines().map(|it| format!("  {it}\n")).collect()
}

/// The same as a file of its own.
pub(crate) fn vaulted_file(text: &str, password: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, password).unwrap();
    let mut child = Command::new("ansible-vault")
        .args(["encrypt", "--vault-password-file"])
        .arg(&file)
        .args(["--output", "-", "-"])
        .env("HOME", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("ansible-vault is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
