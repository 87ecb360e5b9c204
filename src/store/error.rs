//! Why the store could not do what it was asked.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the store could not do what it was asked. What was to be written is not, in each case.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its directory can't be made or read.
    #[error("cannot open the store {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("the store {} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "the store {} has schema version {found}, this program knows versions up to {known}: \
         install the newer program again, or move the file away",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The file is no store, or damaged.
    #[error("the store is damaged: {problem}; restore it from a backup or move it away")]
    Damaged {
        /// What SQLite found.
        problem: String,
    },
    /// There is no room left. Nothing is wrong with the file: later writes may succeed.
    #[error("there is no room left to store anything")]
    Full,
    /// The key is taken.
    #[error("`{key}` exists already")]
    Exists {
        /// The key.
        key: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Anything else that SQLite reports.
    #[error("the store failed")]
    Sqlite(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { problem: error.to_string() }
            }
            _ => Self::Sqlite(error),
        }
    }
}
