//! Real processes in real sandboxes. As root this tests everything; elsewhere
//! what the kernel allows, and says what it left out.

mod behind;
mod ends;
mod hook;
mod leftovers;
mod limits;
mod support;
mod walls;
