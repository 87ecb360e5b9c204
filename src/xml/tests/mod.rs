//! Tests of the room as a whole.

mod arbitrary;
mod dtd;
mod limits;
mod replies;
mod requests;
mod round_trip;
mod transcripts;
