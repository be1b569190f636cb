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
}
impl Options {
    /// stub
    pub fn read(_node: Node, _pointer: &str, _mistakes: &mut Vec<Mistake>) -> Option<Self> {
        Some(Self::default())
    }
}
