//! Logs and metrics: the subscriber set-up, the printing of error chains, the registry of counters.
