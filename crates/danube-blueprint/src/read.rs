//! From a directory to a blueprint: each file for itself, then all together.

use std::path::Path;

use danube_model::spec::{Node, read_envelope};
use danube_model::{Mistake, Mistakes, Position, Source};

use crate::files::{Found, Place, find};
use crate::model::{Blueprint, Config, Declared, Team, User};
use crate::texts::Text;
use crate::{config, person, pipeline, whole};

/// Reads a blueprint.
///
/// # Errors
/// Every mistake of every file, by file, in the order in which they stand.
pub fn read(dir: &Path) -> Result<Blueprint, Vec<Mistakes>> {
    let (found, wrong) = find(dir);
    let mut files: Vec<Checked> = found.into_iter().map(Checked::of).collect();
    whole::check(&mut files);
    let mut wrong: Vec<Mistakes> = wrong;
    if files.is_empty() && wrong.is_empty() {
        wrong.push(empty());
    }
    wrong.extend(files.iter_mut().filter_map(Checked::mistakes));
    wrong.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(assemble(files))
}

fn name_of(mistakes: &Mistakes) -> &str {
    mistakes.source.as_ref().map_or("", |it| &it.name)
}

/// Nothing at all is a wrong directory or branch. Taken for a blueprint, it would take
/// everything away from everybody.
fn empty() -> Mistakes {
    Mistakes {
        list: vec![Mistake {
            code: "blueprint.empty",
            pointer: String::new(),
            at: None,
            message: "there is no file of a blueprint here".to_owned(),
            help: Some(
                "it has `config.yaml`, `users/`, `teams/` or `pipelines/` at its top".into(),
            ),
        }],
        source: None,
    }
}

/// What a file declares.
#[derive(Debug)]
pub(crate) enum Said {
    Config(Config),
    User(String, User),
    Team(String, Team),
    Pipeline(Box<Declared>),
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) place: Place,
    pub(crate) source: Source,
    /// Its name, also when something else is wrong, so that nobody who refers to it is
    /// told that it isn't there.
    pub(crate) name: Option<String>,
    /// Where the name stands.
    pub(crate) at: Option<Position>,
    pub(crate) said: Option<Said>,
    /// Names of others that it uses: users for a team, teams for a pipeline.
    pub(crate) uses: Vec<Text>,
    pub(crate) list: Vec<Mistake>,
}

impl Checked {
    fn of(found: Found) -> Self {
        let Found { place, source } = found;
        let mut checked = Self {
            place,
            source,
            name: None,
            at: None,
            said: None,
            uses: Vec::new(),
            list: Vec::new(),
        };
        match Node::parse(&checked.source.text) {
            Ok(node) => checked.read(node),
            Err(mistake) => checked.list.push(mistake),
        }
        checked
    }

    fn read(&mut self, node: Node) {
        let kind = match self.place {
            Place::Config => "Config",
            Place::Users => "User",
            Place::Teams => "Team",
            Place::Pipelines => "Pipeline",
        };
        let (place, file) = (self.place, self.source.name.clone());
        let (name, at, uses) = (&mut self.name, &mut self.at, &mut self.uses);
        self.said = read_envelope(node, kind, &mut self.list, |head, spec, mistakes| {
            name.clone_from(&head.name);
            *at = head.at;
            let name = head.name.unwrap_or_default();
            match place {
                Place::Config => config::read(spec, mistakes).map(Said::Config),
                Place::Users => person::user(spec, mistakes).map(|it| Said::User(name, it)),
                Place::Teams => person::team(spec, uses, mistakes).map(|it| Said::Team(name, it)),
                Place::Pipelines => pipeline::read(spec, (name, file), uses, mistakes)
                    .map(|it| Said::Pipeline(Box::new(it))),
            }
        });
    }

    fn mistakes(&mut self) -> Option<Mistakes> {
        if self.list.is_empty() {
            return None;
        }
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|it| it.at.map_or(0, |at| at.offset));
        Some(Mistakes {
            list,
            source: Some(self.source.clone()),
        })
    }
}

fn assemble(files: Vec<Checked>) -> Blueprint {
    let mut blueprint = Blueprint::default();
    for said in files.into_iter().filter_map(|it| it.said) {
        match said {
            Said::Config(config) => blueprint.config = config,
            Said::User(name, user) => {
                blueprint.users.insert(name, user);
            }
            Said::Team(name, team) => {
                blueprint.teams.insert(name, team);
            }
            Said::Pipeline(declared) => {
                let name = declared.pipeline.name.clone();
                blueprint.pipelines.insert(name, *declared);
            }
        }
    }
    blueprint
}
