//! Findings of the gate as CIM_Error.

use super::{Facts, strings};
use crate::{
    checks::{Finding, Severity, Source},
    cim::{CimName, Instance},
};

/// ErrorSourceFormat: Other; OtherErrorSourceFormat says which.
const OTHER: u16 = 1;

/// The finding as a client gets it.
pub(super) fn error(finding: &Finding) -> Instance {
    let (source, format) = match &finding.source {
        Source::Builtin if finding.subject.is_empty() => ("guest", "subject of a built-in check"),
        Source::Builtin => (finding.subject.as_str(), "subject of a built-in check"),
        Source::Program(name) => (name.as_str(), "check program"),
        Source::Directory(path) => (path.as_str(), "check directory"),
    };
    let severity: u16 = match finding.severity {
        Severity::Info => 2,
        Severity::Warning => 3,
        // Major.
        Severity::Error => 5,
    };
    Facts::of(CimName::literal("CIM_Error"))
        .set("OwningEntity", "virtcimd")
        .set("MessageID", &*finding.code)
        .set("Message", finding.message.as_str())
        .set("MessageArguments", strings(finding.arguments.iter().cloned()))
        .set("PerceivedSeverity", severity)
        .set("RecommendedActions", strings(finding.remedies.iter().cloned()))
        .set("ErrorSource", source)
        .set("ErrorSourceFormat", OTHER)
        .set("OtherErrorSourceFormat", format)
        .done()
}
