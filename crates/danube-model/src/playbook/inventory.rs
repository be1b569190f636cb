//! stub
use crate::mistake::Mistake;
use crate::spec::Node;
use serde::{Deserialize, Serialize};
/// stub
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {}
impl Inventory {
    /// stub
    pub fn read(_node: Node, _pointer: &str, _mistakes: &mut Vec<Mistake>) -> Option<Self> {
        Some(Self {})
    }
}
