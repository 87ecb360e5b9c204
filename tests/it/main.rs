//! Tests of the assembled daemon, one binary; each module says what it shows.

mod architecture;
