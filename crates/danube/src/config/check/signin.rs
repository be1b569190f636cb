//! The provider's settings.

use std::time::Duration;

use danube_master::OidcSettings;
use danube_model::Mistake;
use danube_outgoing::Policy;

use super::{Values, wrong};

pub(super) fn read(it: &Values<'_>, mistakes: &mut Vec<Mistake>) -> Option<OidcSettings> {
    let issuer = it.text("oidc.issuer")?;
    let settings = OidcSettings {
        client_id: it.text("oidc.client_id")?,
        client_secret_file: it.path("oidc.client_secret_file"),
        scopes: it.text("oidc.scopes")?,
        leeway: Duration::from_secs(it.number("oidc.leeway_seconds")?),
        allow_private: it.networks("oidc.allow_private"),
        issuer,
    };
    let is_here = ["http://127.0.0.1:", "http://[::1]:"];
    let policy = Policy {
        allow_private: settings.allow_private.clone(),
        allow_http: is_here.iter().any(|it| settings.issuer.starts_with(it)),
    };
    if let Err(why) = policy.check(&settings.issuer) {
        mistakes.push(wrong(
            "oidc.issuer",
            format!("the address of the provider {why}"),
            "oidc.allow_private names networks and hosts that aren't public; plain http is taken on 127.0.0.1 alone",
        ));
    }
    for scope in ["openid", "email"] {
        if !settings.scopes.split(' ').any(|it| it == scope) {
            let why = format!("`{scope}` is missing");
            mistakes.push(wrong(
                "oidc.scopes",
                &why,
                "without it the provider doesn't say who somebody is",
            ));
        }
    }
    Some(settings)
}
