//! What somebody may do with which pipeline: the one place where that is decided.
//!
//! Whoever may do nothing with a pipeline is told that there is no such pipeline and no such
//! job. A blueprint is looked at as it was when the request came, so a right that it takes away
//! is gone with the next request.

use std::sync::Arc;

use danube_blueprint::{Blueprint, Permission, matches};
use danube_model::spec::is_name;
use danube_store::{MemberSight, Sight};

/// What somebody may do with which pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reach {
    /// Never more than this, with any.
    cap: Permission,
    /// Only those that one of the patterns fits; all when there are none.
    patterns: Option<Arc<[String]>>,
    /// Only what the blueprint gives this user.
    member: Option<Member>,
}

/// A user of the blueprint who isn't an administrator.
#[derive(Debug, Clone)]
struct Member {
    name: Arc<str>,
    blueprint: Arc<Blueprint>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.blueprint, &other.blueprint)
    }
}

impl Reach {
    /// Up to this with all pipelines.
    pub(crate) fn all(cap: Permission) -> Self {
        Self {
            cap,
            patterns: None,
            member: None,
        }
    }

    /// What the blueprint gives this user.
    pub(crate) fn member(name: &str, blueprint: Arc<Blueprint>) -> Self {
        Self {
            member: Some(Member {
                name: name.into(),
                blueprint,
            }),
            ..Self::all(Permission::Admin)
        }
    }

    /// Of that, only with the pipelines that one of the patterns fits, if there are patterns.
    pub(crate) fn within(self, patterns: Option<&Vec<String>>) -> Self {
        Self {
            patterns: patterns.map(|it| it.as_slice().into()),
            ..self
        }
    }

    /// The same pipelines as that one, if it has fewer than all.
    pub(crate) fn within_those_of(self, other: &Self) -> Self {
        Self {
            patterns: other.patterns.clone(),
            ..self
        }
    }

    /// Whether that includes every pipeline, and what belongs to none.
    pub(crate) fn is_all(&self) -> bool {
        self.patterns.is_none() && self.member.is_none()
    }

    /// The most that it can be with any pipeline.
    pub(crate) fn cap(&self) -> Permission {
        self.cap
    }

    /// What may be done with a pipeline, or with a job of it that this user submitted.
    ///
    /// What the blueprint doesn't declare (a pipeline of the directory, a spec, a playbook) no
    /// team has rights to: a user has those jobs of it that are their own.
    pub(crate) fn right(&self, pipeline: &str, submitted_by: Option<&str>) -> Option<Permission> {
        let fits = |all: &Arc<[String]>| !all.is_empty() && matches(all, pipeline);
        if !self.patterns.as_ref().is_none_or(fits) {
            return None;
        }
        let Some(Member { name, blueprint }) = &self.member else {
            return Some(self.cap);
        };
        let given = if blueprint.pipelines.contains_key(pipeline) {
            blueprint.permission(name, pipeline)
        } else {
            (submitted_by == Some(name)).then_some(Permission::Write)
        };
        given.map(|it| it.min(self.cap))
    }

    /// What may be done with a job of this pipeline that is about to be submitted.
    pub(crate) fn right_to_own(&self, pipeline: &str) -> Option<Permission> {
        let own = self.member.as_ref().map(|it| &*it.name);
        self.right(pipeline, own)
    }

    /// Whether it is what the blueprint gives a user who isn't an administrator.
    pub(crate) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// Whether what is done with this pipeline depends on who submitted a job.
    pub(crate) fn asks_whose(&self, pipeline: &str) -> bool {
        let member = self.member.as_ref();
        member.is_some_and(|it| !it.blueprint.pipelines.contains_key(pipeline))
    }

    /// The patterns of a key, if it has any.
    pub(crate) fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }

    /// For what filters in the store.
    pub(crate) fn sight(&self) -> Sight {
        let patterns = self.patterns.as_ref().map(|it| it.to_vec());
        let Some(Member { name, blueprint }) = &self.member else {
            return patterns.map_or(Sight::All, Sight::Patterns);
        };
        let declared: Vec<String> = blueprint.pipelines.keys().cloned().collect();
        let mut pipelines = declared.clone();
        pipelines.retain(|it| self.right(it, None).is_some());
        Sight::Member(MemberSight {
            pipelines,
            user: name.to_string(),
            declared,
            patterns,
        })
    }
}

/// Whether a text is a pattern of pipelines: a name in which `*` may stand for any text.
/// So it holds nothing that SQL's GLOB sees in another way.
pub(crate) fn is_pattern(text: &str) -> bool {
    is_name(&text.replace('*', "x"))
}

#[cfg(test)]
mod tests {
    use danube_blueprint::{Declared, Permissions, Team, Triggers, User};
    use danube_model::spec::parse_file;

    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn patterns_reach_what_they_say_and_no_patterns_reach_nothing() {
        let reach =
            |patterns: &[&str]| Reach::all(Permission::Write).within(Some(&owned(patterns)));
        let web = reach(&["web-*", "docs"]);
        for (name, expected) in [
            ("web-build", true),
            ("web-", true),
            ("docs", true),
            ("docs2", false),
            ("my-web-build", false),
            ("", false),
        ] {
            let right = expected.then_some(Permission::Write);
            assert_eq!(web.right(name, None), right, "{name}");
        }
        assert_eq!(reach(&[]).right("docs", None), None);
        assert!(Reach::all(Permission::Read).within(None).is_all());
    }

    /// Two pipelines, of which alice may read the one and manage the other.
    fn blueprint() -> Arc<Blueprint> {
        let text = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: x}\nspec:\n  steps:\n    - {name: a, run: echo}\n";
        let declared = |teams: &[(&str, Permission)]| Declared {
            pipeline: parse_file("x.yaml", text).unwrap(),
            script: None,
            image: None,
            triggers: Triggers {
                push: None,
                pull_request: None,
                cron: Vec::new(),
                manual: true,
            },
            permissions: Permissions {
                teams: teams.iter().map(|(it, may)| ((*it).into(), *may)).collect(),
            },
            file: "pipelines/x.yaml".into(),
        };
        let team = Team {
            members: ["alice".to_owned()].into(),
        };
        let user = User {
            email: "alice@example.org".into(),
            admin: false,
        };
        let (read, admin) = (Permission::Read, Permission::Admin);
        let pipelines = [
            ("shared", declared(&[("all", read), ("none", admin)])),
            ("web", declared(&[("web", admin), ("all", read)])),
            ("payroll", declared(&[("none", read)])),
            ("open", declared(&[])),
        ];
        Arc::new(Blueprint {
            users: [("alice".to_owned(), user)].into(),
            teams: [
                ("all".to_owned(), team.clone()),
                ("web".to_owned(), team),
                ("none".to_owned(), Team { members: [].into() }),
            ]
            .into(),
            pipelines: pipelines.map(|(name, it)| (name.to_owned(), it)).into(),
            ..Blueprint::default()
        })
    }

    #[test]
    fn a_user_has_what_the_blueprint_gives_and_what_is_their_own_beside_it() {
        let alice = Reach::member("alice", blueprint());
        for (pipeline, by, expected) in [
            ("shared", None, Some(Permission::Read)),
            ("web", None, Some(Permission::Admin)),
            ("payroll", None, None),
            ("open", None, None),
            // Who submitted it doesn't count where the blueprint rules.
            ("shared", Some("alice"), Some(Permission::Read)),
            ("payroll", Some("alice"), None),
            ("elsewhere", Some("alice"), Some(Permission::Write)),
            ("elsewhere", Some("bob"), None),
            ("elsewhere", None, None),
        ] {
            assert_eq!(alice.right(pipeline, by), expected, "{pipeline} {by:?}");
        }
        assert!(!alice.is_all() && alice.asks_whose("elsewhere") && !alice.asks_whose("web"));
        assert_eq!(alice.right_to_own("elsewhere"), Some(Permission::Write));
        assert_eq!(alice.right_to_own("payroll"), None);
        let Sight::Member(sight) = alice.sight() else {
            panic!("a member's sight");
        };
        assert_eq!(sight.pipelines, ["shared", "web"]);
        assert_eq!(sight.declared, ["open", "payroll", "shared", "web"]);
        // A user who is gone has nothing, whatever a request still holds.
        assert_eq!(
            Reach::member("bob", blueprint()).right("shared", None),
            None
        );
    }

    #[test]
    fn a_key_of_some_pipelines_never_gives_more_than_its_user_has() {
        let key = owned(&["shared", "payroll", "else*"]);
        let alice = Reach::member("alice", blueprint()).within(Some(&key));
        assert_eq!(alice.right("shared", None), Some(Permission::Read));
        assert_eq!(alice.right("web", None), None);
        assert_eq!(alice.right("payroll", None), None);
        assert_eq!(
            alice.right("elsewhere", Some("alice")),
            Some(Permission::Write)
        );
        assert_eq!(alice.right("other", Some("alice")), None);
    }

    #[test]
    fn a_pattern_holds_nothing_special_but_the_star() {
        for (text, expected) in [
            ("web-*", true),
            ("*", true),
            ("a b/c", true),
            ("", false),
            ("!x", false),
            ("a?", false),
            ("[a]", false),
        ] {
            assert_eq!(is_pattern(text), expected, "{text}");
        }
    }
}
