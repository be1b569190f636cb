//! stub
use crate::mistake::Mistake;
use crate::spec::Node;
use serde::{Deserialize, Serialize};
/// stub
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// stub
    pub timeout_seconds: Option<u64>,
    /// stub
    pub check: bool,
    /// stub
    pub diff: bool,
    /// stub
    pub verbosity: u8,
    /// stub
    pub forks: Option<u32>,
    /// stub
    pub limit: Option<String>,
    /// stub
    pub tags: Vec<String>,
    /// stub
    pub skip_tags: Vec<String>,
}
impl Options {
    /// stub
    pub fn read(_node: Node, _pointer: &str, _mistakes: &mut Vec<Mistake>) -> Option<Self> {
        Some(Self::default())
    }
}
