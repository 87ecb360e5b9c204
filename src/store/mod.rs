//! What outlives the process, in SQLite: jobs and subscriptions.
