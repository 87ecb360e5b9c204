//! Tests of the room as a whole.

mod arbitrary;
mod dtd;
mod limits;
mod paths;
mod replies;
mod requests;
mod round_trip;
mod transcripts;
