//! Jobs and what was found wrong with them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};

/// A job as it is stored. Times are microseconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobRow {
    /// Its identity.
    pub id: String,
    /// The guest's name.
    pub guest: String,
    /// The guest's UUID.
    pub guest_uuid: String,
    /// The connection it started from.
    pub hypervisor: String,
    /// The destination, as the client named it.
    pub destination: String,
    /// Who asked for it.
    pub owner: String,
    /// Its place in the queue.
    pub priority: u16,
    /// Where it stands, for people and for queries.
    pub phase: String,
    /// Whether it has ended.
    pub over: bool,
    /// The state machine.
    pub machine: String,
    /// What was asked for.
    pub request: String,
    /// What is told of it: progress, messages.
    pub report: String,
    /// When it was asked for.
    pub submitted: i64,
    /// When it left the queue.
    pub started: Option<i64>,
    /// When its phase last changed.
    pub changed: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// When clients stopped seeing it.
    pub removed: Option<i64>,
}

/// Which jobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Jobs {
    /// Those that have not ended.
    Unfinished,
    /// Those that clients see.
    Visible,
    /// Those that ended at that time or later, and those that have not, newest first, at most that many.
    History {
        /// Microseconds since 1970.
        since: i64,
        /// How many.
        limit: u32,
    },
}

const COLUMNS: &str = "id, guest, guest_uuid, hypervisor, destination, owner, priority, phase, over, \
    machine, request, report, submitted, started, changed, ended, removed";

impl Store {
    /// Stores a new job.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the identity is taken; any other [`StoreError`].
    pub async fn insert_job(&self, row: JobRow) -> Result<(), StoreError> {
        self.call(move |connection| {
            let marks = vec!["?"; 17].join(", ");
            let sql = format!("INSERT OR IGNORE INTO jobs ({COLUMNS}) VALUES ({marks})");
            let inserted = write(connection, &sql, &row)?;
            if inserted { Ok(()) } else { Err(StoreError::Exists { key: row.id }) }
        })
        .await
    }

    /// Stores what has become of a job.
    ///
    /// # Errors
    /// [`StoreError`]; the stored job is then what it was.
    pub async fn update_job(&self, row: JobRow) -> Result<(), StoreError> {
        self.call(move |connection| {
            let sql = "UPDATE jobs SET guest = ?2, guest_uuid = ?3, hypervisor = ?4, \
                destination = ?5, owner = ?6, priority = ?7, phase = ?8, over = ?9, machine = ?10, \
                request = ?11, report = ?12, submitted = ?13, started = ?14, changed = ?15, \
                ended = ?16, removed = ?17 WHERE id = ?1";
            let known = write(connection, sql, &row)?;
            if known {
                Ok(())
            } else {
                Err(StoreError::Sqlite(rusqlite::Error::QueryReturnedNoRows))
            }
        })
        .await
    }

    /// The job of that identity.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn job(&self, id: String) -> Result<Option<JobRow>, StoreError> {
        self.call(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?");
            Ok(connection.prepare(&sql)?.query_row([id], read).optional()?)
        })
        .await
    }

    /// Jobs, in the order in which they were asked for unless `which` says otherwise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn jobs(&self, which: Jobs) -> Result<Vec<JobRow>, StoreError> {
        let (rest, since, limit) = match which {
            Jobs::Unfinished => ("over = 0 AND ?1 = 0 ORDER BY submitted, rowid", 0, u32::MAX),
            Jobs::Visible => ("removed IS NULL AND ?1 = 0 ORDER BY submitted, rowid", 0, u32::MAX),
            Jobs::History { since, limit } => {
                ("(over = 0 OR ended >= ?1) ORDER BY submitted DESC, rowid DESC", since, limit)
            }
        };
        self.call(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {rest} LIMIT ?2");
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map(params![since, limit], read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets jobs that ended before that time and that clients no longer see; says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_jobs(&self, ended_before: i64) -> Result<usize, StoreError> {
        self.call(move |connection| {
            let sql = "DELETE FROM jobs WHERE over = 1 AND removed IS NOT NULL AND ended < ?";
            Ok(connection.execute(sql, [ended_before])?)
        })
        .await
    }

    /// Stores what was found wrong with a job, in order, in place of what was stored before.
    ///
    /// # Errors
    /// [`StoreError`], also if there is no such job.
    pub async fn set_findings(&self, job: String, bodies: Vec<String>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM job_findings WHERE job = ?", [&job])?;
            for (position, body) in bodies.iter().enumerate() {
                let sql = "INSERT INTO job_findings (job, position, body) VALUES (?, ?, ?)";
                transaction.prepare(sql)?.execute(params![job, position as i64, body])?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// What was found wrong with a job, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn findings(&self, job: String) -> Result<Vec<String>, StoreError> {
        self.call(move |connection| {
            let sql = "SELECT body FROM job_findings WHERE job = ? ORDER BY position";
            let mut statement = connection.prepare(sql)?;
            let bodies = statement.query_map([job], |row| row.get(0))?;
            Ok(bodies.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Runs a statement over all columns; whether it changed a row.
fn write(connection: &mut Connection, sql: &str, row: &JobRow) -> Result<bool, StoreError> {
    let changed = connection.prepare(sql)?.execute(params![
        row.id,
        row.guest,
        row.guest_uuid,
        row.hypervisor,
        row.destination,
        row.owner,
        row.priority,
        row.phase,
        row.over,
        row.machine,
        row.request,
        row.report,
        row.submitted,
        row.started,
        row.changed,
        row.ended,
        row.removed,
    ])?;
    Ok(changed > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: row.get(0)?,
        guest: row.get(1)?,
        guest_uuid: row.get(2)?,
        hypervisor: row.get(3)?,
        destination: row.get(4)?,
        owner: row.get(5)?,
        priority: row.get(6)?,
        phase: row.get(7)?,
        over: row.get(8)?,
        machine: row.get(9)?,
        request: row.get(10)?,
        report: row.get(11)?,
        submitted: row.get(12)?,
        started: row.get(13)?,
        changed: row.get(14)?,
        ended: row.get(15)?,
        removed: row.get(16)?,
    })
}
