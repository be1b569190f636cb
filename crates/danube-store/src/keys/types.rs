//! What is known of API keys.

use danube_model::Timestamp;

/// What the bearer of an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Submit, cancel and read.
    Member,
    /// Read.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Member, Self::Viewer];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Names an API key for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub i64);

/// An API key to remember. The key itself never reaches the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Unique among keys that aren't revoked.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its first characters, so that people can tell keys apart.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// What bounds it.
    pub bounds: KeyBounds,
}

/// What bounds an API key beside its role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBounds {
    /// When it is good no more; none for never.
    pub expires_at: Option<Timestamp>,
    /// The service account in whose name it acts; its own when none.
    pub account: Option<String>,
    /// Patterns of the pipelines that it reaches; all when none.
    pub pipelines: Option<Vec<String>>,
    /// The user of the blueprint whose rights it has, in place of those of its role.
    pub user: Option<String>,
}

/// An API key as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Unique among keys that aren't revoked.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its first characters.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, as far as was told.
    pub last_used_at: Option<Timestamp>,
    /// What bounds it.
    pub bounds: KeyBounds,
}
