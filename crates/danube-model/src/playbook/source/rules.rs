//! What each value of a source may be, and how much of it.

use crate::spec::Repository;

/// Bytes of a path in a source: a quarter of what Linux takes, because the
/// job's own directory stands before it.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Bytes of an address: what browsers and proxies take of a URL.
pub const URL_BYTES_MAX: usize = 2_048;

/// Bytes of a playbook in the request: more than a person writes there, and
/// sealed with the job in the store.
pub const INLINE_BYTES_MAX: usize = 256 * 1_024;

/// Bytes of a host pattern: it becomes one line of the generated playbook.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// Bytes of a role's variables as JSON: sealed with the job, as a playbook is.
pub const VARS_BYTES_MAX: usize = 64 * 1_024;

/// Leading directories that may be taken off: archives have one, seldom two.
pub const STRIP_COMPONENTS_MAX: u64 = 16;

/// Why `text` can't be a path in a source. Ansible expands `~` and `$NAME` in
/// the path of a playbook, and reads one that begins with `-` as an option.
pub(in crate::playbook) fn wrong_path(text: &str) -> Option<&'static str> {
    if is_inside(text) {
        return None;
    }
    Some(
        "must be a relative path of at most 1024 bytes in the source, without `..`, `.git`, `$`, `\\` and control characters, not beginning with `/`, `-` or `~`",
    )
}

/// Whether `text` is a path that stays inside the directory that it is in.
#[must_use]
pub fn is_inside(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= PATH_BYTES_MAX
        && !text.starts_with(['/', '-', '~'])
        && !text.contains(['$', '\\'])
        && !text.chars().any(char::is_control)
        && text
            .split('/')
            .all(|it| !matches!(it, "" | "." | "..") && !it.eq_ignore_ascii_case(".git"))
}

/// Why `text` can't be an `http` address. Says nothing of what stands in it.
pub(in crate::playbook) fn wrong_url(text: &str) -> Option<&'static str> {
    let unfit = |it: char| it.is_control() || it.is_whitespace() || it == '\\';
    if text.len() > URL_BYTES_MAX || text.chars().any(unfit) || !text.is_ascii() {
        return Some(
            "holds white space, a backslash or characters that must be %-escaped, or is longer than 2048 bytes",
        );
    }
    let Some(rest) = after_scheme(text, &["https", "http"]) else {
        return Some("must be an address that begins with https:// or http://");
    };
    let authority = authority(rest);
    if authority.contains('@') {
        return Some(USER_IN_ADDRESS);
    }
    if !authority.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '[') {
        return Some("names no host");
    }
    text.contains('#')
        .then_some("has a fragment (`#…`), which no server is ever sent")
}

/// Why `text` can't be a server's address, to which paths are added.
pub(super) fn wrong_server(text: &str) -> Option<&'static str> {
    wrong_url(text).or_else(|| {
        text.contains('?')
            .then_some("has a query; it must be the server's address alone")
    })
}

const USER_IN_ADDRESS: &str = "holds a user or a password, which would be stored and shown with the job; store it with `danube credential` and name it in `credentials`";

/// Why `text` can't be a git repository.
pub(in crate::playbook) fn wrong_repository(text: &str) -> Option<&'static str> {
    if let Err(why) = Repository::parse(text) {
        return Some(why);
    }
    if text.contains(['?', '#']) {
        return Some("has a query or a fragment, which git repositories don't have");
    }
    let user = |schemes| {
        let authority = authority(after_scheme(text, schemes)?);
        authority.rsplit_once('@').map(|(user, _)| user)
    };
    // `ssh://git@host` needs its user, and that is no secret. Over http the user
    // alone may be a token.
    let secret = user(&["https", "http", "git"]).is_some()
        || user(&["ssh"]).is_some_and(|it| it.contains(':'));
    secret.then_some(USER_IN_ADDRESS)
}

/// Whether bytes on their way from this address can be changed by others.
pub(in crate::playbook) fn is_plain_http(url: &str) -> bool {
    after_scheme(url, &["http"]).is_some()
}

/// An address without user, query and fragment.
#[must_use]
pub fn without_secrets(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let address = &address[..end];
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let authority = authority(rest);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[authority.len()..]),
        None => address.to_owned(),
    }
}

fn after_scheme<'a>(text: &'a str, schemes: &[&str]) -> Option<&'a str> {
    let (scheme, rest) = text.split_once("://")?;
    schemes
        .iter()
        .any(|it| it.eq_ignore_ascii_case(scheme))
        .then_some(rest)
}

fn authority(rest: &str) -> &str {
    &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]
}

/// Why `text` can't be a role's name. It becomes a directory.
pub(super) fn wrong_role(text: &str) -> Option<&'static str> {
    (!is_word(text, b"._-"))
        .then_some("must be 1 to 100 letters, digits and `._-`, beginning with a letter or digit")
}

/// Why `text` can't be one part of a Maven coordinate or a repository's name.
pub(super) fn wrong_word(text: &str) -> Option<&'static str> {
    (!is_word(text, b"._-+") || text.contains("..")).then_some(
        "must be 1 to 100 letters, digits and `._-+`, beginning with a letter or digit, without `..`",
    )
}

fn is_word(text: &str, besides: &[u8]) -> bool {
    text.len() <= crate::limits::NAME_BYTES_MAX
        && text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || besides.contains(&it))
}

/// Why `text` can't be the hosts of a generated playbook.
pub(super) fn wrong_hosts(text: &str) -> Option<&'static str> {
    let fits = !text.is_empty()
        && text.len() <= PATTERN_BYTES_MAX
        && !text.chars().any(char::is_control)
        // A template would be run where the playbook is read.
        && !text.contains("{{")
        && !text.contains("{%");
    (!fits).then_some(
        "must be a pattern of hosts of at most 1024 bytes on one line, without a template",
    )
}

/// Why `text` can't be a checksum of so many hex digits.
pub(in crate::playbook) fn wrong_hex(text: &str, digits: usize) -> Option<&'static str> {
    let fits = text.len() == digits && text.bytes().all(|it| it.is_ascii_hexdigit());
    (!fits).then_some(if digits == 64 {
        "must be 64 hex digits"
    } else {
        "must be 40 hex digits"
    })
}

/// Why `text` can't be a directory of the worker's machine.
pub(super) fn wrong_directory(text: &str) -> Option<&'static str> {
    let fits = text.len() <= PATH_BYTES_MAX
        && text.starts_with('/')
        && !text.chars().any(char::is_control)
        && text.split('/').all(|it| it != "..");
    (!fits).then_some("must be an absolute path of at most 1024 bytes without `..`")
}

/// The name that a role has when nobody names it: as `ansible-galaxy` takes it
/// from the address.
pub(super) fn role_name(repository: &str) -> String {
    let last = repository.trim_end_matches('/').rsplit(['/', ':']).next();
    let last = last.unwrap_or_default();
    let last = last.strip_suffix(".git").unwrap_or(last);
    last.strip_prefix("ansible-role-")
        .unwrap_or(last)
        .to_owned()
}
