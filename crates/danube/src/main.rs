//! The `danube` command.

fn main() {}
