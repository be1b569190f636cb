//! From what is to be run to a command line, an environment and files. No secret stands in
//! the first two: what is secret lies in files that only the run's user can read.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use danube_model::playbook::Options;
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

/// The callback plugin, which is written out for each run.
const PLUGIN: &str = include_str!("danube_callback.py");

/// A search path of Ansible's: its names in `ansible.cfg`, and what it is when nobody says
/// otherwise.
struct SearchPath {
    names: &'static [&'static str],
    usual: &'static [&'static str],
}

const CALLBACKS: SearchPath = SearchPath {
    names: &["callback_plugins"],
    usual: &[
        "~/.ansible/plugins/callback",
        "/usr/share/ansible/plugins/callback",
    ],
};

const ROLES: SearchPath = SearchPath {
    names: &["roles_path"],
    usual: &[
        "~/.ansible/roles",
        "/usr/share/ansible/roles",
        "/etc/ansible/roles",
    ],
};

const COLLECTIONS: SearchPath = SearchPath {
    names: &["collections_path", "collections_paths"],
    usual: &["~/.ansible/collections", "/usr/share/ansible/collections"],
};

/// Bytes of an `ansible.cfg` that are looked at for its search paths.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// One call of `ansible-playbook`.
pub struct Run<'a> {
    /// The playbook's path, below the directory in which the run starts.
    pub playbook: &'a str,
    /// The inventories.
    pub inventories: &'a [PathBuf],
    /// They come from where nobody trusts a program: they are read as INI, YAML or JSON,
    /// never run, and name no plugin that is.
    pub is_plain_inventory: bool,
    /// The options.
    pub options: &'a Options,
    /// Variables that win over all others.
    pub extra_vars: &'a Map<String, Json>,
    /// With what hosts are reached and files are read.
    pub credentials: &'a Credentials,
    /// Where `roles` and `collections` were installed that the source requires, if any were.
    pub installed: Option<&'a Path>,
    /// The directory in which the run starts: the source.
    pub directory: &'a Path,
    /// The home of the user that runs it.
    pub home: &'a Path,
    /// The key of [`crate::Folds`], if its output is looked at by them.
    pub fold_key: Option<&'a str>,
}

/// Secrets of a run. There is no `Debug`.
#[derive(Default)]
pub struct Credentials {
    /// A private key for ssh.
    pub ssh_key: Option<Zeroizing<String>>,
    /// The user on the hosts.
    pub user: Option<String>,
    /// The password on the hosts.
    pub password: Option<Zeroizing<String>>,
    /// The password with which tasks become another user.
    pub become_password: Option<Zeroizing<String>>,
    /// How they become one: `sudo`, `su`, …
    pub become_method: Option<String>,
    /// Which one.
    pub become_user: Option<String>,
    /// Passwords of the vault.
    pub vaults: Vec<Vault>,
}

/// A password of Ansible's vault.
pub struct Vault {
    /// Its id; none for the one that has none.
    pub id: Option<String>,
    /// The password.
    pub password: Zeroizing<String>,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables beside the usual ones of a step.
    pub env: Vec<(String, String)>,
}

/// Writes the files of a run into `dir`, which is made, and says what to start. Everything
/// belongs to `owner` then. `events` is the socket of [`crate::Listener`].
///
/// # Errors
/// When a file can't be written.
pub fn prepare(
    dir: &Path,
    owner: Option<(u32, u32)>,
    run: &Run<'_>,
    events: &Path,
) -> io::Result<Prepared> {
    let files = Files { dir, owner };
    let plugins = files.directory("plugins")?;
    files.write("plugins/danube.py", PLUGIN.as_bytes())?;
    let temporary = files.directory("tmp")?;
    let mut argv: Vec<OsString> = vec!["ansible-playbook".into()];
    for inventory in run.inventories {
        argv.extend(["-i".into(), inventory.into()]);
    }
    options(run.options, &mut argv);
    if !run.extra_vars.is_empty() {
        let text = Zeroizing::new(serde_json::to_vec(run.extra_vars)?);
        let file = files.write("extra_vars.json", &text)?;
        argv.extend(["-e".into(), prefixed("@", &file)]);
    }
    credentials(&files, run.credentials, &mut argv)?;
    // What follows is no option, whatever it looks like.
    argv.extend(["--".into(), run.playbook.into()]);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let callbacks = [vec![text(&plugins)], search_path(run, &CALLBACKS)].concat();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut env = vec![
        pair("ANSIBLE_CALLBACK_PLUGINS", callbacks.join(":")),
        pair("ANSIBLE_FORCE_COLOR", "1".to_owned()),
        pair("ANSIBLE_NOCOWS", "1".to_owned()),
        pair("ANSIBLE_RETRY_FILES_ENABLED", "0".to_owned()),
        pair("ANSIBLE_LOCAL_TEMP", text(&temporary)),
        pair("DANUBE_ANSIBLE_EVENTS", text(events)),
        // Lines come as they are written, not in blocks of 8 KiB.
        pair("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    if let Some(installed) = run.installed {
        // What the project brings along comes first.
        let both = |path: &SearchPath, name: &str| {
            let own = [search_path(run, path), vec![text(&installed.join(name))]];
            own.concat().join(":")
        };
        env.push(pair("ANSIBLE_ROLES_PATH", both(&ROLES, "roles")));
        let collections = both(&COLLECTIONS, "collections");
        env.push(pair("ANSIBLE_COLLECTIONS_PATH", collections));
    }
    if let Some(key) = run.fold_key {
        env.push(pair("DANUBE_ANSIBLE_FOLDS", key.to_owned()));
    }
    if !run.inventories.is_empty() {
        // Else a run on no host at all, because none could be read, would count as a success.
        env.push(pair("ANSIBLE_INVENTORY_UNPARSED_FAILED", "1".to_owned()));
    }
    if run.is_plain_inventory {
        // Of the usual ones, `script` runs a file and `auto` the plugin that it names.
        env.push(pair("ANSIBLE_INVENTORY_ENABLED", "yaml,ini".to_owned()));
    }
    Ok(Prepared { argv, env })
}

fn options(options: &Options, argv: &mut Vec<OsString>) {
    let mut option = |name: &str, value: String| {
        argv.push(format!("--{name}={value}").into());
    };
    if !options.tags.is_empty() {
        option("tags", options.tags.join(","));
    }
    if !options.skip_tags.is_empty() {
        option("skip-tags", options.skip_tags.join(","));
    }
    if let Some(limit) = &options.limit {
        option("limit", limit.clone());
    }
    if let Some(forks) = options.forks {
        option("forks", forks.to_string());
    }
    if options.check {
        argv.push("--check".into());
    }
    if options.diff {
        argv.push("--diff".into());
    }
    if options.verbosity > 0 {
        let level = "v".repeat(usize::from(options.verbosity));
        argv.push(format!("-{level}").into());
    }
}

fn credentials(files: &Files<'_>, given: &Credentials, argv: &mut Vec<OsString>) -> io::Result<()> {
    if let Some(user) = &given.user {
        argv.push(format!("--user={user}").into());
    }
    if let Some(method) = &given.become_method {
        argv.push(format!("--become-method={method}").into());
    }
    if let Some(user) = &given.become_user {
        argv.push(format!("--become-user={user}").into());
    }
    let secrets = [
        ("private-key", "ssh_key", &given.ssh_key),
        ("connection-password-file", "password", &given.password),
        (
            "become-password-file",
            "become_password",
            &given.become_password,
        ),
    ];
    for (option, name, secret) in secrets {
        if let Some(secret) = secret {
            let file = files.write(name, secret.as_bytes())?;
            argv.push(prefixed(&format!("--{option}="), &file));
        }
    }
    for (index, vault) in given.vaults.iter().enumerate() {
        let file = files.write(&format!("vault_{index}"), vault.password.as_bytes())?;
        let id = vault.id.as_deref().unwrap_or("default");
        argv.push(prefixed(&format!("--vault-id={id}@"), &file));
    }
    Ok(())
}

fn prefixed(before: &str, path: &Path) -> OsString {
    let mut all = OsString::from(before);
    all.push(path);
    all
}

/// The run's private directory.
struct Files<'a> {
    dir: &'a Path,
    owner: Option<(u32, u32)>,
}

impl Files<'_> {
    fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.dir.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        self.give(&path)?;
        Ok(path)
    }

    /// A file that can't be run: a password file that can is a program to Ansible.
    fn write(&self, name: &str, text: &[u8]) -> io::Result<PathBuf> {
        let path = self.dir.join(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text)?;
        self.give(&path)?;
        Ok(path)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// The search path that the project has by its own settings: what the environment says
/// takes its place, so it must name all of it too. Ansible takes the first of these files
/// (its documentation, "Ansible Configuration Settings").
fn search_path(run: &Run<'_>, path: &SearchPath) -> Vec<String> {
    let files = [
        run.directory.join("ansible.cfg"),
        run.home.join(".ansible.cfg"),
        PathBuf::from("/etc/ansible/ansible.cfg"),
    ];
    let found = files.into_iter().find_map(|file| {
        let meta = fs::metadata(&file).ok()?;
        let is_small = meta.is_file() && meta.len() <= CONFIG_BYTES_MAX;
        let text = is_small.then(|| fs::read_to_string(&file).ok()).flatten()?;
        Some((file, text))
    });
    let named = found.as_ref().and_then(|(file, text)| {
        let mut names = path.names.iter();
        let value = names.find_map(|it| setting(text, "defaults", it))?;
        Some((file.parent().unwrap_or(Path::new("/")), value))
    });
    let Some((base, value)) = named else {
        return path.usual.iter().map(|it| (*it).to_owned()).collect();
    };
    let paths = value.split(':').map(str::trim).filter(|it| !it.is_empty());
    let absolute = |it: &str| match it {
        _ if it.starts_with(['/', '~', '$', '{']) => it.to_owned(),
        _ => base.join(it).to_string_lossy().into_owned(),
    };
    paths.map(absolute).collect()
}

/// A setting of an INI file as Python's `configparser` reads it, on one line.
fn setting<'t>(text: &'t str, section: &str, name: &str) -> Option<&'t str> {
    let mut is_inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            is_inside = title == section;
        } else if is_inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once(['=', ':'])
            && key.trim() == name
        {
            found = Some(value.split(" ;").next().unwrap_or(value).trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_stands_on_the_command_line_or_in_the_environment() {
        const SECRET: &str = "hush-hush-4711";
        let dir = tempfile::tempdir().unwrap();
        let secret = || Some(Zeroizing::new(SECRET.to_owned()));
        let given = Credentials {
            ssh_key: secret(),
            user: Some("deploy".to_owned()),
            password: secret(),
            become_password: secret(),
            become_method: Some("sudo".to_owned()),
            become_user: None,
            vaults: vec![Vault {
                id: Some("prod".to_owned()),
                password: Zeroizing::new(SECRET.to_owned()),
            }],
        };
        let Json::Object(extra_vars) = json!({"token": SECRET}) else {
            panic!("it is one");
        };
        let run = Run {
            playbook: "-site.yml",
            inventories: &[PathBuf::from("/i/hosts.yml")],
            is_plain_inventory: true,
            installed: None,
            options: &Options::default(),
            extra_vars: &extra_vars,
            credentials: &given,
            directory: dir.path(),
            home: dir.path(),
            fold_key: None,
        };
        let prepared = prepare(dir.path(), None, &run, &dir.path().join("events")).unwrap();
        let shown = format!("{prepared:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(shown.contains("\"--\", \"-site.yml\""), "{shown}");
        assert!(shown.contains("--vault-id=prod@"), "{shown}");
        for name in ["ssh_key", "password", "vault_0", "extra_vars.json"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_projects_own_callbacks_stay() {
        let text = "[defaults]\n# callback_plugins = no\ncallback_plugins = ./cb:/opt/cb ; two\n[x]\ncallback_plugins=no\n";
        assert_eq!(
            setting(text, "defaults", "callback_plugins"),
            Some("./cb:/opt/cb")
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ansible.cfg"), text).unwrap();
        let run = Run {
            playbook: "site.yml",
            inventories: &[],
            is_plain_inventory: false,
            installed: Some(Path::new("/g")),
            options: &Options::default(),
            extra_vars: &Map::new(),
            credentials: &Credentials::default(),
            directory: dir.path(),
            home: Path::new("/none"),
            fold_key: None,
        };
        let own = dir.path().join("./cb").to_string_lossy().into_owned();
        assert_eq!(search_path(&run, &CALLBACKS), [own, "/opt/cb".to_owned()]);
        let private = dir.path().join("private");
        fs::create_dir(&private).unwrap();
        let prepared = prepare(&private, None, &run, &private.join("events")).unwrap();
        let (_, roles) = prepared
            .env
            .iter()
            .find(|(name, _)| name == "ANSIBLE_ROLES_PATH")
            .unwrap();
        let usual = ROLES.usual.join(":");
        assert_eq!(*roles, format!("{usual}:/g/roles"));
    }
}
