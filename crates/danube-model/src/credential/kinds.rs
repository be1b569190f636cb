//! The kinds of credentials, as one table: checks, help and docs are made from it.

use crate::ForgeKind;

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A private key for connections over ssh.
    SshKey,
    /// The password of a connection.
    Password,
    /// The password that a task needs to become another user.
    Become,
    /// The password of files sealed with `ansible-vault`.
    VaultPassword,
    /// What a git server asks for.
    Git,
    /// What a Nexus repository asks for.
    NexusToken,
    /// Who GitHub is: what signs its webhooks, and what it is told results by.
    GitHub,
    /// The same of a GitLab.
    GitLab,
    /// The same of a Gitea or Forgejo.
    Gitea,
}

/// One kind and what it consists of.
#[derive(Debug, Clone, Copy)]
pub struct KindSpec {
    /// The kind.
    pub kind: CredentialKind,
    /// Its name on the wire and on the command line.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [FieldSpec],
    /// Exactly one of these secret fields has to be there.
    pub one_of: &'static [&'static str],
}

/// One field of a credential.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    /// Its name on the wire.
    pub name: &'static str,
    /// What may stand in it.
    pub form: Form,
    /// The field that must be there with it.
    pub needs: Option<&'static str>,
    /// What it is, in a few words.
    pub about: &'static str,
}

/// What may stand in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A secret text; shown to nobody.
    Secret,
    /// A secret private key, as `ssh-keygen` writes it.
    PrivateKey,
    /// The name of a user, shown to whoever may list credentials.
    User,
    /// A word that is shown, as [`is_credential_name`](super::is_credential_name) has it.
    Word,
    /// The address of a web site that is shown, without a login.
    Address,
}

impl Form {
    /// Whether what stands in it is sealed and never comes back.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::PrivateKey)
    }
}

const fn field(name: &'static str, form: Form, about: &'static str) -> FieldSpec {
    FieldSpec {
        name,
        form,
        needs: None,
        about,
    }
}

const fn needing(needs: &'static str, field: FieldSpec) -> FieldSpec {
    FieldSpec {
        needs: Some(needs),
        ..field
    }
}

const PASSPHRASE: FieldSpec = needing(
    "private_key",
    field(
        "passphrase",
        Form::Secret,
        "opens the private key, where it is locked",
    ),
);

const WEBHOOK_SECRET: FieldSpec = field(
    "webhook_secret",
    Form::Secret,
    "signs its webhooks, or comes along with them",
);

const FORGE_TOKEN: FieldSpec = field(
    "token",
    Form::Secret,
    "the token that may set the status of commits",
);

/// Every kind.
pub const KINDS: &[KindSpec] = &[
    KindSpec {
        kind: CredentialKind::SshKey,
        name: "ssh_key",
        about: "a private key for connections over ssh",
        fields: &[
            field("private_key", Form::PrivateKey, "the private key"),
            PASSPHRASE,
            field("username", Form::User, "the user to connect as"),
        ],
        one_of: &["private_key"],
    },
    KindSpec {
        kind: CredentialKind::Password,
        name: "password",
        about: "the password of a connection",
        fields: &[
            field("password", Form::Secret, "the password"),
            field("username", Form::User, "the user to connect as"),
        ],
        one_of: &["password"],
    },
    KindSpec {
        kind: CredentialKind::Become,
        name: "become",
        about: "the password with which a task becomes another user",
        fields: &[
            field("password", Form::Secret, "the password"),
            field("method", Form::Word, "how: `sudo`, `su`, `doas`, …"),
            field("username", Form::User, "the user to become"),
        ],
        one_of: &["password"],
    },
    KindSpec {
        kind: CredentialKind::VaultPassword,
        name: "vault_password",
        about: "the password of files sealed with `ansible-vault`",
        fields: &[
            field("password", Form::Secret, "the password"),
            field(
                "vault_id",
                Form::Word,
                "the vault id that the files were sealed under",
            ),
        ],
        one_of: &["password"],
    },
    KindSpec {
        kind: CredentialKind::Git,
        name: "git",
        about: "a user with a password or token for git over https, or an ssh key",
        fields: &[
            needing(
                "username",
                field(
                    "password",
                    Form::Secret,
                    "the password or token for git over https",
                ),
            ),
            field(
                "private_key",
                Form::PrivateKey,
                "the private key for git over ssh",
            ),
            PASSPHRASE,
            field("username", Form::User, "the user"),
        ],
        one_of: &["password", "private_key"],
    },
    KindSpec {
        kind: CredentialKind::NexusToken,
        name: "nexus_token",
        about: "a user with a password or token for a Nexus repository, or a bearer token",
        fields: &[
            needing(
                "username",
                field(
                    "password",
                    Form::Secret,
                    "the password or token of the user",
                ),
            ),
            field("token", Form::Secret, "the bearer token"),
            field("username", Form::User, "the user"),
        ],
        one_of: &["password", "token"],
    },
    KindSpec {
        kind: CredentialKind::GitHub,
        name: "github",
        about: "GitHub, whose webhooks start pipelines",
        fields: &[
            WEBHOOK_SECRET,
            FORGE_TOKEN,
            field(
                "url",
                Form::Address,
                "its address; https://github.com if none is given",
            ),
        ],
        one_of: &["webhook_secret"],
    },
    KindSpec {
        kind: CredentialKind::GitLab,
        name: "gitlab",
        about: "a GitLab, whose webhooks start pipelines",
        fields: &[
            WEBHOOK_SECRET,
            FORGE_TOKEN,
            field(
                "url",
                Form::Address,
                "its address; https://gitlab.com if none is given",
            ),
        ],
        one_of: &["webhook_secret"],
    },
    KindSpec {
        kind: CredentialKind::Gitea,
        name: "gitea",
        about: "a Gitea or Forgejo, whose webhooks start pipelines",
        fields: &[
            needing("url", WEBHOOK_SECRET),
            FORGE_TOKEN,
            field("url", Form::Address, "its address"),
        ],
        one_of: &["webhook_secret"],
    },
];

impl CredentialKind {
    /// What it consists of.
    #[must_use]
    pub fn spec(self) -> &'static KindSpec {
        KINDS
            .iter()
            .find(|it| it.kind == self)
            .expect("every kind stands in the table")
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The forge that is known by it, if one is.
    #[must_use]
    pub const fn forge(self) -> Option<ForgeKind> {
        match self {
            Self::GitHub => Some(ForgeKind::GitHub),
            Self::GitLab => Some(ForgeKind::GitLab),
            Self::Gitea => Some(ForgeKind::Gitea),
            _ => None,
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let spec = KINDS.iter().find(|it| it.name == name);
        spec.map(|it| it.kind)
    }
}

impl KindSpec {
    /// The field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|it| it.name == name)
    }
}

/// The table of the kinds, as the documentation shows it.
#[must_use]
pub fn kinds_as_markdown() -> String {
    let mut text = String::from("| kind | for | secret | shown |\n| --- | --- | --- | --- |\n");
    for spec in KINDS {
        let fields = |is_secret: bool| {
            let those = spec
                .fields
                .iter()
                .filter(|it| it.form.is_secret() == is_secret);
            let list: Vec<String> = those
                .map(|it| format!("`{}`: {}", it.name, it.about))
                .collect();
            list.join("; ")
        };
        let (name, about) = (spec.name, spec.about);
        text.push_str(&format!(
            "| `{name}` | {about} | {} | {} |\n",
            fields(true),
            fields(false)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_credentials_has_every_kind() {
        let page = include_str!("../../../../docs/credentials.md");
        let table = kinds_as_markdown();
        assert!(page.contains(&table), "docs/credentials.md needs:\n{table}");
    }
}
