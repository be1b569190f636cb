//! The address of a git repository that the server itself fetches.

use danube_model::spec::Repository;

/// A repository whose address says of nobody but a user of ssh who asks: passwords and
/// tokens are credentials.
pub(super) fn repository(text: &str) -> Option<String> {
    Repository::parse(text).ok()?;
    let (scheme, rest) = text.split_once("://").unwrap_or(("ssh", text));
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let is_plain = user.is_none_or(|user| scheme == "ssh" && !user.contains(':'));
    (is_plain && !rest.contains(['?', '#'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_address_without_a_password() {
        for good in [
            "https://git.example.org/a.git",
            "ssh://git@git.example.org:22/a",
            "git@git.example.org:a/b.git",
            "file:///srv/git/a",
            "/srv/git/a",
        ] {
            assert_eq!(repository(good).as_deref(), Some(good));
        }
        for wrong in [
            "",
            "a/b",
            "ext::sh -c x",
            "https://u:p@git.example.org/a",
            "https://token@git.example.org/a",
            "ssh://git:p@git.example.org/a",
            "https://git.example.org/a?token=x",
        ] {
            assert_eq!(repository(wrong), None, "{wrong}");
        }
    }
}
