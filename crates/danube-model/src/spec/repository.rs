//! Which repositories and refs may be named at all.
//!
//! Both reach `git` as values, never as options or script; this keeps out what
//! `git` itself would read as something else (`--upload-pack=…`, `ext::sh -c`).

use std::path::PathBuf;

/// Bytes of a repository's address: what browsers and proxies take of a URL.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// Bytes of a ref: git keeps each as a file, and file names end there.
const REF_BYTES_MAX: usize = 255;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repository {
    /// On another machine, or behind a URL.
    Remote,
    /// A directory of this machine; the operator says which may be used.
    Local(PathBuf),
}

impl Repository {
    /// Reads an address: `https://`, `http://`, `ssh://`, `git://`, `file:///`,
    /// an absolute path, or `user@host:path`.
    ///
    /// # Errors
    /// What is allowed, when it is something else.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const ALLOWED: &str = "must be an address that begins with https://, http://, ssh://, git:// or file:///, an absolute path, or user@host:path";
        if text.len() > ADDRESS_BYTES_MAX
            || text.chars().any(|it| it.is_control() || it.is_whitespace())
        {
            return Err("holds white space or control characters, or is too long");
        }
        if let Some(path) = text.strip_prefix("file://") {
            return local(path);
        }
        if text.starts_with('/') {
            return local(text);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let known = matches!(scheme, "https" | "http" | "ssh" | "git");
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            // `ssh://-oProxyCommand=…` was an option to ssh once.
            let host_is_one = host.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '[');
            return if known && host_is_one {
                Ok(Self::Remote)
            } else {
                Err(ALLOWED)
            };
        }
        let Some((user_host, path)) = text.split_once(':') else {
            return Err(ALLOWED);
        };
        let Some((user, host)) = user_host.split_once('@') else {
            return Err(ALLOWED);
        };
        let word = |it: &str| {
            it.starts_with(|c: char| c.is_ascii_alphanumeric())
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if word(user) && word(host) && !path.is_empty() && !path.starts_with([':', '-']) {
            Ok(Self::Remote)
        } else {
            Err(ALLOWED)
        }
    }
}

fn local(path: &str) -> Result<Repository, &'static str> {
    let path = PathBuf::from(path);
    let plain = path.is_absolute()
        && path
            .components()
            .all(|it| !matches!(it, std::path::Component::ParentDir));
    if plain {
        Ok(Repository::Local(path))
    } else {
        Err("must be an absolute path without `..`")
    }
}

/// Whether `text` can be a branch, tag or commit.
#[must_use]
pub fn is_git_ref(text: &str) -> bool {
    let allowed = |it: char| it.is_alphanumeric() || "._/-+@#".contains(it);
    !text.is_empty()
        && text.len() <= REF_BYTES_MAX
        && text.chars().all(allowed)
        && !text.starts_with(['-', '/', '.'])
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_git_clones() {
        for text in [
            "https://example.org/a.git",
            "http://u:p@example.org:8080/a",
            "ssh://git@example.org/a",
            "git@example.org:team/a.git",
            "git://[::1]/a",
        ] {
            assert_eq!(Repository::parse(text), Ok(Repository::Remote), "{text}");
        }
        for text in ["file:///srv/a.git", "/srv/a.git"] {
            assert_eq!(
                Repository::parse(text),
                Ok(Repository::Local("/srv/a.git".into())),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_that_would_do_something_else() {
        for text in [
            "",
            "a",
            "../a",
            "ext::sh -c id",
            "ext::sh",
            "--upload-pack=id",
            "-u",
            "file://relative/a",
            "file:///a/../../etc",
            "ssh://-oProxyCommand=id/a",
            "https://u@-x/a",
            "git@-oProxyCommand=id:a",
            "-x@host:a",
            "a@b::c",
            "https://a\nb",
            "fd::17",
            "user@host:-x",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refs() {
        for text in [
            "main",
            "v1.2.3",
            "feature/x-1",
            "0123456789abcdef0123456789abcdef01234567",
            "refs/pull/1/head",
        ] {
            assert!(is_git_ref(text), "{text}");
        }
        for text in [
            "", "-x", "a b", "a..b", "$(id)", "/a", "a;id", "a\n", ".git",
        ] {
            assert!(!is_git_ref(text), "{text}");
        }
    }
}
