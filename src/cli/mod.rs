//! The commands of both programs: arguments in, text and exit codes out.
