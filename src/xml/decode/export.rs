//! A listener's answer to the export of an indication.

use super::{
    super::{DecodeError, Limits, reader::Reader},
    close_message, open_message, reply,
};
use crate::cim::CimError;

/// Decodes a listener's answer to [`encode_export`](crate::xml::encode_export): whether it took the
/// indication.
///
/// # Errors
/// [`DecodeError`] if it is no such answer; then nobody knows.
pub fn decode_export_reply(
    body: &[u8],
    limits: &Limits,
) -> Result<Result<(), CimError>, DecodeError> {
    let mut reader = Reader::new(body, limits)?;
    open_message(&mut reader)?.understood()?;
    reader.expect("SIMPLEEXPRSP")?;
    reader.expect("EXPMETHODRESPONSE")?;
    let answer = match reader.child()? {
        None => Ok(()),
        Some("IRETURNVALUE") => {
            reader.skip()?;
            reader.end()?;
            Ok(())
        }
        Some("ERROR") => {
            let error = reply::error(&mut reader)?;
            reader.end()?;
            Err(error)
        }
        Some(other) => return Err(reader.unexpected(other)),
    };
    reader.end()?;
    close_message(&mut reader)?;
    Ok(answer)
}
