//! The tables, and how older files come to have them.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// One script for each version, in order; `PRAGMA user_version` counts those that have run. A script
/// that was released is never changed: what comes after it is a new one.
pub(super) const SCRIPTS: [&str; 2] = [
    "
    CREATE TABLE jobs (
        id TEXT NOT NULL PRIMARY KEY,
        guest TEXT NOT NULL,
        guest_uuid TEXT NOT NULL,
        hypervisor TEXT NOT NULL,
        destination TEXT NOT NULL,
        owner TEXT NOT NULL,
        priority INTEGER NOT NULL,
        phase TEXT NOT NULL,
        over INTEGER NOT NULL,
        machine TEXT NOT NULL,
        request TEXT NOT NULL,
        report TEXT NOT NULL,
        submitted INTEGER NOT NULL,
        started INTEGER,
        changed INTEGER NOT NULL,
        ended INTEGER,
        removed INTEGER
    ) STRICT;
    CREATE INDEX jobs_by_end ON jobs (over, ended);
    CREATE TABLE job_findings (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE objects (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE parcels (
        destination TEXT NOT NULL,
        place INTEGER NOT NULL,
        subscription TEXT NOT NULL,
        made TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (destination, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sequences (
        destination TEXT NOT NULL PRIMARY KEY,
        url TEXT NOT NULL,
        context TEXT NOT NULL,
        next INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
];

/// The newest version.
pub(super) const VERSION: u32 = SCRIPTS.len() as u32;

/// Brings the file to the newest version, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: VERSION });
    }
    for (version, script) in (1..).zip(SCRIPTS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
