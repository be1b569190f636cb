//! What a playbook job is to do: where the playbook comes from.

pub mod source;
