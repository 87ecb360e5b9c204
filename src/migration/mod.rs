//! The migration machine: typed settings, destinations, plan, job, executor.
