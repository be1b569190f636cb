//! Rules that may change while those who use them run.

use std::sync::{Arc, PoisonError, RwLock};

use crate::Rules;

/// Rules as they are now; clones share them. Whoever begins a log takes what holds then.
#[derive(Debug, Clone)]
pub struct LiveRules(Arc<RwLock<Rules>>);

impl LiveRules {
    /// What holds now.
    #[must_use]
    pub fn get(&self) -> Rules {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Others hold from now on.
    pub fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

impl From<Rules> for LiveRules {
    fn from(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(rules)))
    }
}
