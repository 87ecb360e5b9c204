//! Text where an embedded instance belongs: CIM-XML or MOF, as libvirt-cim takes both.

use crate::{
    cim::Instance,
    mof::{self, MofError},
    xml::{self, DecodeError, Limits},
};

/// The text is no instance.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmbeddedError {
    /// It looks like XML and is no instance.
    #[error(transparent)]
    Xml(#[from] DecodeError),
    /// It was taken for MOF and is none.
    #[error(transparent)]
    Mof(#[from] MofError),
}

impl EmbeddedError {
    /// Whether it is an instance, and only a value in it is wrong.
    pub(super) fn is_bad_value(&self) -> bool {
        matches!(self, Self::Xml(DecodeError::BadValue { .. }))
    }
}

/// Reads an instance. As in libvirt-cim it is XML if `<instance` stands in it in any case, else MOF.
pub(super) fn parse(text: &str) -> Result<Instance, EmbeddedError> {
    Ok(if mentions_instance_element(text) {
        xml::embedded::decode_instance(text, &Limits::default())?
    } else {
        mof::parse_instance(text)?
    })
}

fn mentions_instance_element(text: &str) -> bool {
    const TAG: &[u8] = b"<instance";
    text.as_bytes().windows(TAG.len()).any(|window| window.eq_ignore_ascii_case(TAG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, class: Option<&str>) {
        let found = parse(text).ok().map(|instance| instance.class.to_string());
        assert_eq!(found.as_deref(), class, "{text:?}");
    }

    #[test]
    fn xml_is_told_from_mof_by_the_element() {
        check("<INSTANCE CLASSNAME=\"CIM_Error\"></INSTANCE>", Some("CIM_Error"));
        check(" <?xml version=\"1.0\"?>\n<instance CLASSNAME=\"CIM_Error\"/>", Some("CIM_Error"));
        check("instance of CIM_Error { MessageID = \"x\"; };", Some("CIM_Error"));
        check("instance of CIM_Error { MessageID = \"<instance\"; };", None);
        check("<INSTANCE CLASSNAME=\"bro", None);
        check("", None);
        check("nonsense", None);
    }
}
