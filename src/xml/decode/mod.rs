//! Elements to the model: one file per family of elements of DSP0201.

mod arguments;
mod class;
mod export;
mod instance;
mod operation;
mod path;
mod reply;
mod request;
mod value;

pub use export::decode_export_reply;
pub use reply::decode_reply;
pub use request::{
    Call, OpenedRequest, RequestBody, RequestMessage, Target, decode_request, open_request,
};

pub(super) use class::class;
pub(super) use instance::instance;

use super::{DecodeError, reader::Reader};
use crate::cim::CimName;

/// The attributes of CIM and MESSAGE.
struct Head {
    id: String,
    protocol_version: String,
    cim_version: String,
    dtd_version: String,
}

impl Head {
    /// Checks the version of the protocol.
    fn understood(self) -> Result<Self, DecodeError> {
        if is_version(&self.protocol_version, "1.") {
            Ok(self)
        } else {
            Err(DecodeError::UnsupportedProtocolVersion(self.protocol_version))
        }
    }
}

/// Opens CIM and MESSAGE and checks the versions of CIM and of the DTD.
fn open_message(reader: &mut Reader<'_>) -> Result<Head, DecodeError> {
    let root = reader.root()?;
    if root != "CIM" {
        return Err(reader.unexpected(root));
    }
    let cim_version = reader.required("CIMVERSION")?.to_owned();
    let dtd_version = reader.required("DTDVERSION")?.to_owned();
    if !is_version(&cim_version, "2.") {
        return Err(DecodeError::UnsupportedCimVersion(cim_version));
    }
    if !is_version(&dtd_version, "2.") {
        return Err(DecodeError::UnsupportedDtdVersion(dtd_version));
    }
    reader.expect("MESSAGE")?;
    let id = reader.required("ID")?.to_owned();
    let protocol_version = reader.required("PROTOCOLVERSION")?.to_owned();
    Ok(Head { id, protocol_version, cim_version, dtd_version })
}

/// Whether a version is a number, or several with dots, behind that major one and its dot.
fn is_version(version: &str, major: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    version.strip_prefix(major).is_some_and(|minor| minor.split('.').all(is_number))
}

/// Closes MESSAGE and CIM and ends the document.
fn close_message(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.end()?;
    reader.end()?;
    reader.finish()
}

/// A name that is there twice. Sorts, so that many names cost no more than they should.
fn repeated<'n>(names: impl Iterator<Item = &'n CimName>) -> Option<&'n CimName> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[1])
}
