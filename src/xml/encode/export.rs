//! The export of an indication to a listener (DSP0201 §5.2.6).

use super::{super::writer::Writer, close_message, object, open_message};
use crate::cim::Instance;

/// Encodes the message that delivers an indication.
pub fn encode_export(id: &str, indication: &Instance) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    let mut writer = Writer::new(&mut bytes);
    open_message(&mut writer, id, "1.0");
    writer.element("SIMPLEEXPREQ", |writer| {
        writer.tag("EXPMETHODCALL").with("NAME", "ExportIndication").open();
        writer.tag("EXPPARAMVALUE").with("NAME", "NewIndication").open();
        object::instance(writer, indication);
        writer.close("EXPPARAMVALUE");
        writer.close("EXPMETHODCALL");
    });
    close_message(&mut writer);
    bytes
}
