//! An inventory behind an address: data for Ansible, and never a program.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use danube_model::playbook::source::{Checksum, without_secrets};

use crate::download::Ask;
use crate::error::SourceError;
use crate::fetch::write_private;
use crate::limits::INVENTORY_BYTES_MAX;

/// Bytes at the beginning by which YAML and JSON are told from INI.
const HEAD_BYTES: u64 = 512;

/// Downloads it into a directory; the file's path.
pub(crate) fn fetch(
    ask: &Ask<'_>,
    (url, sha256): (&str, Option<&str>),
    into: &Path,
) -> Result<PathBuf, SourceError> {
    let expected = sha256.map(|it| Checksum::Sha256(it.to_owned()));
    let mut file = ask.file_within(url, expected.as_ref(), INVENTORY_BYTES_MAX)?;
    (ask.watch.say)(&format!(
        "downloaded the inventory {}, sha256 {}",
        without_secrets(url),
        file.sha256
    ));
    let mut head = Vec::new();
    let reads = SourceError::io("read the download");
    let read = (&file.file).take(HEAD_BYTES).read_to_end(&mut head);
    read.and_then(|_| file.file.rewind()).map_err(reads)?;
    let name = name(url, &head);
    write_private(name, &mut file.file, into, ask.watch)?;
    Ok(into.join(name))
}

/// What the file is called: Ansible reads a file as YAML (and JSON, which is YAML) by the
/// end of its name alone, and any other as INI.
fn name(url: &str, head: &[u8]) -> &'static str {
    const YAML: &str = "hosts.yml";
    const INI: &str = "hosts";
    let path = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let last = path.rsplit('/').next().unwrap_or_default();
    let extension = last.rsplit_once('.').map(|(_, it)| it.to_ascii_lowercase());
    match extension.as_deref() {
        Some("yml" | "yaml" | "json") => YAML,
        Some("ini" | "cfg") => INI,
        // Many an address says nothing, so the text must.
        _ if is_yaml(head) => YAML,
        _ => INI,
    }
}

/// Whether the first line that says something is one of YAML or JSON: an INI file begins
/// with a host or a `[group]`.
fn is_yaml(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = lines
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .find(|it| !it.starts_with(';'));
    first.is_some_and(|it| {
        it.starts_with('{')
            || it == "---"
            || it.starts_with("--- ")
            || it.starts_with('%')
            || it.ends_with(':') && !it.contains(['=', ' '])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_ansible_reads_it() {
        for (url, head, expected) in [
            ("https://h/hosts.YAML?token=x.ini", "", "hosts.yml"),
            ("https://h/inventory.json", "", "hosts.yml"),
            ("https://h/hosts.ini", "all:", "hosts"),
            ("https://h/export?format=x", "{\"all\": {}}", "hosts.yml"),
            ("https://h", "# ours\n---\nall:\n", "hosts.yml"),
            ("https://h/", "\u{feff}all:\n  hosts:\n", "hosts.yml"),
            ("https://h/a.b/hosts", "; ours\n[web]\nx y=1\n", "hosts"),
            ("https://h/hosts", "one ansible_host=::\n", "hosts"),
            ("https://h/hosts", "#!/bin/sh\necho {}\n", "hosts"),
            ("https://h/hosts", "", "hosts"),
        ] {
            assert_eq!(name(url, head.as_bytes()), expected, "{url} {head}");
        }
    }
}
