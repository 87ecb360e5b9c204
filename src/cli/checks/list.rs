//! `virtcimd checks list`: what becomes of each file.

use std::io::Write;

use super::ChecksError;
use crate::{
    checks::{Fate, Options, TroubleKind, WhenMissing, discover},
    cli::{exit, table::Table},
};

/// Shows the files; [`exit::REFUSED`] if the gate would refuse every guest because of one.
pub(super) fn run(options: &Options, out: &mut dyn Write) -> Result<u8, ChecksError> {
    let discovery = discover(&options.directories()?);
    let mut code = exit::OK;
    let mut table = Table::new(["CHECK", "STATE", "FILE", "WHY"]);
    for entry in &discovery.entries {
        let (state, why) = match &entry.fate {
            Fate::Run(_) => ("used", String::new()),
            Fate::Ignored(reason) => ("ignored", reason.to_string()),
            Fate::Masked { by } => ("masked", format!("by `{}'", by.display())),
            Fate::Refused(refusal) => {
                code = exit::REFUSED;
                ("refused", refusal.to_string())
            }
        };
        let (name, file) = (entry.name.to_string_lossy(), entry.path.to_string_lossy());
        table.row([&name, state, &file, &why]);
    }
    if discovery.entries.is_empty() {
        writeln!(out, "There are no files in the check directories.")?;
    } else {
        write!(out, "{table}")?;
    }
    for trouble in &discovery.troubles {
        let allowed = trouble.kind == TroubleKind::Missing
            && options.when_directory_missing == WhenMissing::Pass;
        let meaning = if allowed { "no checks there" } else { "no guest may move" };
        writeln!(out, "`{}': {}: {meaning}", trouble.directory.display(), trouble.kind)?;
        if !allowed {
            code = exit::REFUSED;
        }
    }
    Ok(code)
}
