//! What was not sent any more when the daemon ended, for the next one.

use rusqlite::params;

use super::{Store, StoreError};

/// An indication that waits for its destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParcelRow {
    /// The destination's key.
    pub destination: String,
    /// Its place among those of the destination. A place where there is none was given up.
    pub place: i64,
    /// The subscription's key.
    pub subscription: String,
    /// When the subscription was made.
    pub made: String,
    /// The indication.
    pub body: String,
}

/// How far a destination has been numbered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequenceRow {
    /// The destination's key.
    pub destination: String,
    /// The listener that has heard those before.
    pub url: String,
    /// What the numbers belong to.
    pub context: String,
    /// The next number.
    pub next: i64,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outboxes {
    /// Ordered by destination and place.
    pub parcels: Vec<ParcelRow>,
    /// At most one for each destination.
    pub sequences: Vec<SequenceRow>,
}

impl Store {
    /// Keeps these instead of what was kept before.
    ///
    /// # Errors
    /// [`StoreError`]; then what was kept before still is.
    pub async fn keep_outboxes(&self, outboxes: Outboxes) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch("DELETE FROM parcels; DELETE FROM sequences")?;
            let sql = "INSERT INTO parcels (destination, place, subscription, made, body) \
                VALUES (?, ?, ?, ?, ?)";
            let mut insert = transaction.prepare(sql)?;
            for row in outboxes.parcels {
                let ParcelRow { destination, place, subscription, made, body } = row;
                insert.execute(params![destination, place, subscription, made, body])?;
            }
            drop(insert);
            let sql = "INSERT INTO sequences (destination, url, context, next) VALUES (?, ?, ?, ?)";
            let mut insert = transaction.prepare(sql)?;
            for row in outboxes.sequences {
                insert.execute(params![row.destination, row.url, row.context, row.next])?;
            }
            drop(insert);
            transaction.commit()?;
            Ok(())
        })
        .await
    }

    /// What was kept. The indications stay until they are forgotten; the sequences do not: whoever goes on
    /// with them and is killed leaves nobody who knows how far they got.
    ///
    /// # Errors
    /// [`StoreError`]; then everything is still kept.
    pub async fn take_outboxes(&self) -> Result<Outboxes, StoreError> {
        self.call(|connection| {
            let transaction = connection.transaction()?;
            let sql = "SELECT destination, place, subscription, made, body FROM parcels \
                ORDER BY destination, place";
            let parcels = transaction
                .prepare(sql)?
                .query_map([], |row| {
                    Ok(ParcelRow {
                        destination: row.get(0)?,
                        place: row.get(1)?,
                        subscription: row.get(2)?,
                        made: row.get(3)?,
                        body: row.get(4)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let sql = "DELETE FROM sequences RETURNING destination, url, context, next";
            let sequences = transaction
                .prepare(sql)?
                .query_map([], |row| {
                    Ok(SequenceRow {
                        destination: row.get(0)?,
                        url: row.get(1)?,
                        context: row.get(2)?,
                        next: row.get(3)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            transaction.commit()?;
            Ok(Outboxes { parcels, sequences })
        })
        .await
    }

    /// Forgets the indications of a destination.
    ///
    /// # Errors
    /// [`StoreError`]; then they are still kept.
    pub async fn forget_parcels(&self, destination: String) -> Result<(), StoreError> {
        self.call(move |connection| {
            connection.execute("DELETE FROM parcels WHERE destination = ?", [destination])?;
            Ok(())
        })
        .await
    }
}
