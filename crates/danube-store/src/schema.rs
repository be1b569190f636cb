//! The tables, as a list of steps that only grows.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours: "Danu" in ASCII.
pub(crate) const APPLICATION_ID: i32 = 0x4461_6e75;

/// Each text brings the schema from its place in the list to the next. A text
/// that was released never changes; a new schema is a new text at the end.
const MIGRATIONS: [&str; 19] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
    include_str!("schema/12.sql"),
    include_str!("schema/13.sql"),
    include_str!("schema/14.sql"),
    include_str!("schema/15.sql"),
    include_str!("schema/16.sql"),
    include_str!("schema/17.sql"),
    include_str!("schema/18.sql"),
    include_str!("schema/19.sql"),
];

/// The schema that this program writes.
#[expect(clippy::cast_possible_truncation, reason = "a handful of texts")]
pub(crate) const KNOWN: u32 = MIGRATIONS.len() as u32;

/// The schema of a database; 0 for an empty one.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the schema up to [`KNOWN`], each step in a transaction of its own.
/// A crash in between leaves an older schema, and the next start goes on.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    for (text, target) in MIGRATIONS.iter().zip(1..) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&tx)? < target {
            tx.execute_batch(text)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", target)?;
        }
        tx.commit()?;
    }
    Ok(())
}
