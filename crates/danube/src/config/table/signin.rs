//! Options of the section `oidc`.

use super::{Preset, Row};
use crate::config::value::Kind;

/// Who says that a user is who they say.
pub(super) const SIGN_IN: &[Row] = &[
    Row {
        key: "oidc.issuer",
        kind: Kind::Text,
        preset: Preset::Unset,
        flag: "oidc-issuer",
        short_variable: None,
        help: "The OpenID provider at which users of the blueprint sign in, to the letter as it calls itself; see docs/access.md",
        example: "\"https://dex.example.org\"",
    },
    Row {
        key: "oidc.client_id",
        kind: Kind::Text,
        preset: Preset::Fixed("danube"),
        flag: "oidc-client-id",
        short_variable: None,
        help: "What the provider calls this server",
        example: "\"danube-ci\"",
    },
    Row {
        key: "oidc.client_secret_file",
        kind: Kind::Path,
        preset: Preset::Unset,
        flag: "oidc-client-secret-file",
        short_variable: None,
        help: "A file with what this server shows the provider; none for a public client",
        example: "\"/etc/danube/oidc.secret\"",
    },
    Row {
        key: "oidc.scopes",
        kind: Kind::Text,
        preset: Preset::Fixed("openid email"),
        flag: "oidc-scopes",
        short_variable: None,
        help: "What the provider is asked to tell of somebody; `openid` and `email` are needed",
        example: "\"openid email profile\"",
    },
    Row {
        key: "oidc.leeway_seconds",
        kind: Kind::Seconds { min: 0, max: 600 },
        preset: Preset::Fixed("60"),
        flag: "oidc-leeway",
        short_variable: None,
        help: "How far the clocks of the provider and of this machine may be apart",
        example: "30",
    },
    Row {
        key: "oidc.allow_private",
        kind: Kind::Networks,
        preset: Preset::Unset,
        flag: "oidc-allow-private",
        short_variable: None,
        help: "Networks and hosts that the provider may be in although they aren't public",
        example: "[\"10.1.0.0/16\", \"dex.internal\"]",
    },
];
