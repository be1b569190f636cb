//! Which credentials a playbook uses: their names, by what they are for.

use serde::{Deserialize, Serialize};

use crate::credential::is_credential_name;
use crate::mistake::Mistake;
use crate::spec::{Fields, Node, Value};

/// Vault passwords of one playbook: each is tried on what is encrypted without an id.
pub const VAULTS_MAX: usize = 16;

/// What a playbook needs a credential for; the field's name in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// The private key with which hosts are reached.
    Ssh,
    /// The password with which hosts are reached.
    Password,
    /// The password with which a task becomes another user.
    Become,
    /// A password of Ansible's vault.
    Vault,
    /// What the source's repository is cloned with.
    Git,
    /// What the source's archive is fetched with from a Nexus.
    Nexus,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 6] = [
        Self::Ssh,
        Self::Password,
        Self::Become,
        Self::Vault,
        Self::Git,
        Self::Nexus,
    ];

    /// The field's name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Password => "password",
            Self::Become => "become",
            Self::Vault => "vault",
            Self::Git => "git",
            Self::Nexus => "nexus",
        }
    }
}

/// The credentials of one playbook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uses(Vec<(Use, String)>);

impl Uses {
    /// Reads `credentials`: `{"ssh": NAME, "vault": [NAME, …], …}`.
    pub fn read(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut fields = Fields::open(node, pointer, mistakes)?;
        let mut all = Vec::new();
        for it in Use::ALL {
            let Some(node) = fields.take(it.as_str()) else {
                continue;
            };
            let pointer = fields.below(it.as_str());
            match node.value {
                Value::List(list) if it == Use::Vault && list.len() <= VAULTS_MAX => {
                    for (index, node) in list.into_iter().enumerate() {
                        let pointer = format!("{pointer}/{index}");
                        all.extend(name(node, &pointer, fields.mistakes()).map(|name| (it, name)));
                    }
                }
                Value::List(_) if it == Use::Vault => {
                    let why = format!("has more than {VAULTS_MAX} names");
                    fields.refuse(it.as_str(), node.at, &why);
                }
                _ => all.extend(name(node, &pointer, fields.mistakes()).map(|name| (it, name))),
            }
        }
        fields.end();
        Some(Self(all))
    }

    /// What each is for, and its name; in the order of [`Use::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Use, &str)> {
        self.0.iter().map(|(it, name)| (*it, &**name))
    }

    /// Whether it uses none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the credential for a use of which there is one.
    #[must_use]
    pub fn named(&self, wanted: Use) -> Option<&str> {
        self.iter()
            .find(|(it, _)| *it == wanted)
            .map(|(_, name)| name)
    }
}

/// The name of a credential. What stands there instead is never shown: it may be the
/// credential itself.
fn name(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
    match node.value {
        Value::Text(text) if is_credential_name(&text) => Some(text),
        _ => {
            mistakes.push(Mistake {
                code: "credential.name",
                pointer: pointer.to_owned(),
                at: node.at,
                message: "must be the name of a credential, not the credential itself".to_owned(),
                help: Some("`danube credential list` shows the names".to_owned()),
            });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &serde_json::Value) -> (Option<Uses>, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let node = Node::from_json(value).unwrap();
        let uses = Uses::read(node, "/credentials", &mut mistakes);
        (uses, mistakes)
    }

    #[test]
    fn names_are_read_by_what_they_are_for() {
        let (uses, mistakes) =
            read(&json!({"ssh": "prod-key", "vault": ["a", "b"], "git": "forge"}));
        assert_eq!(mistakes, []);
        let uses = uses.unwrap();
        let expected = [
            (Use::Ssh, "prod-key"),
            (Use::Vault, "a"),
            (Use::Vault, "b"),
            (Use::Git, "forge"),
        ];
        assert_eq!(uses.iter().collect::<Vec<_>>(), expected);
        assert_eq!(uses.named(Use::Git), Some("forge"));
        let one = read(&json!({"vault": "only"})).0.unwrap();
        assert_eq!(one.named(Use::Vault), Some("only"));
    }

    #[test]
    fn a_credential_in_the_place_of_its_name_is_refused_and_not_repeated() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n-----END";
        let (_, mistakes) =
            read(&json!({"ssh": key, "vault": ["ok", 7], "become": ["x"], "no": 1}));
        let pointers: Vec<&str> = mistakes.iter().map(|it| &*it.pointer).collect();
        let expected = [
            "/credentials/ssh",
            "/credentials/become",
            "/credentials/vault/1",
            "/credentials/no",
        ];
        assert_eq!(pointers, expected);
        assert!(!format!("{mistakes:?}").contains("hush"));
    }
}
