//! What a row of the table of options has.

use super::value::{Kind, Value};

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// `section.name`, as in the file.
    pub(crate) key: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds when nobody says anything.
    pub(crate) preset: Preset,
    /// The flag of `danube master`, without the dashes.
    pub(crate) flag: &'static str,
    /// A second, shorter name of its variable.
    pub(crate) short_variable: Option<&'static str>,
    /// What it decides, in plain words; begins the line of `--help`.
    pub(crate) help: &'static str,
    /// A value as it stands in the file.
    pub(crate) example: &'static str,
}

/// What holds when nobody says anything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Preset {
    /// This, as it would stand in a variable.
    Fixed(&'static str),
    /// Nothing: the option is off.
    Unset,
    /// It depends on the machine; `says` tells how, for the reference.
    Made {
        says: &'static str,
        make: fn(&Machine) -> Option<Value>,
    },
}

/// What the presets depend on.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The data directory, once it is known.
    pub(crate) data_dir: Option<std::path::PathBuf>,
    /// Where this user's data directory is when nobody says anything.
    pub(crate) usual_data_dir: Option<std::path::PathBuf>,
    /// Processors that this process may use.
    pub(crate) cores: u64,
}

impl Row {
    /// The section of the file.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').expect("every key has a section").0
    }

    /// The key within its section.
    pub(crate) fn name(&self) -> &'static str {
        self.key.split_once('.').expect("every key has a section").1
    }

    /// `DANUBE_SERVER_LISTEN`.
    pub(crate) fn variable(&self) -> String {
        format!("DANUBE_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Its variables, the one that people are told of first.
    pub(crate) fn variables(&self) -> Vec<String> {
        let short = self.short_variable.map(str::to_owned);
        short.into_iter().chain([self.variable()]).collect()
    }

    /// The default in words.
    pub(crate) fn preset_text(&self) -> &'static str {
        match self.preset {
            Preset::Fixed(text) => text,
            Preset::Unset => "none",
            Preset::Made { says, .. } => says,
        }
    }
}
