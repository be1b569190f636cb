//! Where a repository is, as far as that tells one from another: `https://git.example.org/a/b`,
//! `git@git.example.org:a/b.git` and `ssh://git@GIT.example.org:2222/a/b` are the same.

use danube_model::ForgeKind;

/// Hosts of the large forges that only speak ssh, where port 22 is closed.
const ALIASES: [(&str, &str); 2] = [
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
];

/// Bytes of a repository's name at its forge, groups above it included.
const NAME_BYTES_MAX: usize = 500;

/// An address without what doesn't matter. Forges don't tell case in paths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    /// Of a web address: its port, none for the usual one. Other protocols have ports of
    /// their own, which say nothing.
    web: Option<Option<u16>>,
    path: String,
}

impl Address {
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            // `user@host:path`
            None => return Self::of_ssh(text),
        };
        let usual = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            "ssh" | "git" => None,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |it| it.1);
        let (host, port) = split_port(authority);
        let web = match usual {
            None => None,
            Some(usual) => {
                let port: Option<u16> = port.map(str::parse).transpose().ok()?;
                Some(port.filter(|it| *it != usual))
            }
        };
        Some(Self {
            host: plain_host(host),
            web,
            path: plain_path(path),
        })
    }

    fn of_ssh(text: &str) -> Option<Self> {
        let (user_host, path) = text.split_once(':')?;
        let (_, host) = user_host.split_once('@')?;
        Some(Self {
            host: plain_host(host),
            web: None,
            path: plain_path(path),
        })
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    // Colons within brackets are those of an IPv6 address.
    let from = authority.rfind(']').map_or(0, |it| it + 1);
    match authority[from..].find(':') {
        Some(at) => (&authority[..from + at], Some(&authority[from + at + 1..])),
        None => (authority, None),
    }
}

fn plain_host(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(it, _)| *it == host);
    alias.map_or(host, |(_, real)| (*real).to_owned())
}

fn plain_path(path: &str) -> String {
    let path = path.trim_matches('/').to_ascii_lowercase();
    path.strip_suffix(".git").unwrap_or(&path).to_owned()
}

/// A repository at a forge that is known by its own address: not by one that a message claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    forge: Address,
    name: String,
}

impl Place {
    /// The repository of this name below the forge's address; none where the name can't be
    /// one, or the address.
    pub(crate) fn of(url: &str, name: &str) -> Option<Self> {
        if !is_repository_name(name) {
            return None;
        }
        let forge = Address::read(url)?;
        forge.web?;
        Some(Self {
            forge,
            name: name.to_ascii_lowercase(),
        })
    }

    /// Whether a pipeline's `repository` is this one.
    pub(crate) fn is(&self, repository: &str) -> bool {
        let Some(address) = Address::read(repository) else {
            return false;
        };
        let below = match self.forge.path.as_str() {
            "" => self.name.clone(),
            path => format!("{path}/{}", self.name),
        };
        let same_web = address.web.is_none() || address.web == self.forge.web;
        // A forge below a path of its web site isn't below it for ssh.
        let same_path =
            address.path == below || (address.web.is_none() && address.path == self.name);
        address.host == self.forge.host && same_web && same_path
    }
}

/// Whether a text can name a repository at a forge, such as `team/app`: it becomes part of an
/// address there.
pub(crate) fn is_repository_name(text: &str) -> bool {
    let is_part = |part: &str| {
        let sane = |it: u8| it.is_ascii_alphanumeric() || b"._-+~".contains(&it);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(sane)
    };
    text.len() <= NAME_BYTES_MAX && text.contains('/') && text.split('/').all(is_part)
}

/// Where a forge is when nobody says; none for one that is always somebody's own.
pub(crate) fn usual_url(kind: ForgeKind) -> Option<&'static str> {
    match kind {
        ForgeKind::GitHub => Some("https://github.com"),
        ForgeKind::GitLab => Some("https://gitlab.com"),
        ForgeKind::Gitea => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, name: &str, repository: &str, expected: bool) {
        let place = Place::of(url, name).unwrap();
        assert_eq!(place.is(repository), expected, "{url} {name} {repository}");
    }

    #[test]
    fn a_repository_is_the_same_by_whatever_way_it_is_reached() {
        for repository in [
            "https://github.com/team/app",
            "https://github.com/team/app.git",
            "https://GitHub.com:443/Team/App/",
            "http://github.com/team/app",
            "https://bot@github.com/team/app.git",
            "git@github.com:team/app.git",
            "git@github.com:/team/app",
            "ssh://git@github.com/team/app.git",
            "ssh://git@ssh.github.com:443/team/app.git",
            "git://github.com./team/app",
        ] {
            check("https://github.com", "team/app", repository, true);
        }
        for repository in [
            "https://github.com/team/app2",
            "https://github.com/other/team/app",
            "https://github.com:8443/team/app",
            "https://github.com.example.org/team/app",
            "https://example.org/github.com/team/app",
            "https://github.com@example.org/team/app",
            "git@example.org:team/app",
            "file:///team/app",
            "/team/app",
            "team/app",
            "",
        ] {
            check("https://github.com/", "team/app", repository, false);
        }
    }

    #[test]
    fn a_forge_may_have_a_port_and_lie_below_a_path() {
        let own = "http://[::1]:3000/git";
        check(own, "a/b", "http://[::1]:3000/git/a/b.git", true);
        check(own, "a/b", "http://[::1]:3001/git/a/b.git", false);
        check(own, "a/b", "http://[::1]:3000/a/b.git", false);
        check(own, "a/b", "ssh://git@[::1]:2222/a/b.git", true);
        check(own, "a/b", "ssh://git@[::1]:2222/git/a/b.git", true);
    }

    #[test]
    fn a_name_that_would_leave_its_place_is_none() {
        for name in [
            "app", "a//b", "../b", "a/..", "a/b?x", "a/b#", "a/%2e", "a b/c", "ä/b", "a/b/",
        ] {
            assert_eq!(Place::of("https://github.com", name), None, "{name}");
        }
        assert!(Place::of("https://gitlab.com", "group/sub.group/app_1").is_some());
        assert_eq!(Place::of("ssh://git@github.com", "a/b"), None);
    }
}
