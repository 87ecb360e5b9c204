//! Indication filters, destinations and subscriptions.

use rusqlite::params;

use super::{Store, StoreError};

/// The kinds of objects that clients make and that outlive the process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ObjectKind {
    /// What to send.
    Filter,
    /// Where to.
    Destination,
    /// A filter bound to a destination.
    Subscription,
}

impl ObjectKind {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Destination => "destination",
            Self::Subscription => "subscription",
        }
    }
}

/// An object, in whatever form its owner writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectRow {
    /// Its identity among its kind.
    pub key: String,
    /// The object.
    pub body: String,
}

impl Store {
    /// Stores a new object.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the key is taken; any other [`StoreError`].
    pub async fn insert_object(&self, kind: ObjectKind, row: ObjectRow) -> Result<(), StoreError> {
        self.call(move |connection| {
            let sql = "INSERT OR IGNORE INTO objects (kind, key, body) VALUES (?, ?, ?)";
            match connection.execute(sql, params![kind.name(), row.key, row.body])? {
                0 => Err(StoreError::Exists { key: row.key }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Replaces an object; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_object(
        &self,
        kind: ObjectKind,
        row: ObjectRow,
    ) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let sql = "UPDATE objects SET body = ?3 WHERE kind = ?1 AND key = ?2";
            Ok(connection.execute(sql, params![kind.name(), row.key, row.body])? > 0)
        })
        .await
    }

    /// Removes objects, all or none; says how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_objects(
        &self,
        keys: Vec<(ObjectKind, String)>,
    ) -> Result<usize, StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            let mut removed = 0;
            for (kind, key) in keys {
                let sql = "DELETE FROM objects WHERE kind = ? AND key = ?";
                removed += transaction.execute(sql, params![kind.name(), key])?;
            }
            transaction.commit()?;
            Ok(removed)
        })
        .await
    }

    /// All objects of a kind, by key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn objects(&self, kind: ObjectKind) -> Result<Vec<ObjectRow>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT key, body FROM objects WHERE kind = ? ORDER BY key";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([kind.name()], |row| {
                Ok(ObjectRow { key: row.get(0)?, body: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
