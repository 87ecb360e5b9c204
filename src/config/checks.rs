//! `[checks]`, and what of `[limits]` concerns them.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use super::{Choice, Section, count, hosts::not_zero, size, value::Bytes};
use crate::{
    checks::{
        Options, ParameterLimits, WhenMissing,
        builtin::{Level, Levels},
    },
    sys::child,
};

impl Choice for WhenMissing {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("pass", Self::Pass)];
}

impl Choice for Level {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("warn", Self::Warn)];
}

/// Reads `[checks]`: the settings of the gate, and what becomes of the built-in checks.
pub(super) fn read(
    root: &mut Section<'_>,
    limits: &mut Section<'_>,
    runtime_directory: &Path,
) -> (Options, Levels) {
    let defaults = Options::default();
    let mut section = root.section("checks");
    let timeout = section.setting::<Duration>("timeout");
    if let Some(timeout) = &timeout {
        not_zero(&section, "timeout", timeout);
    }
    let mut timeouts = defaults.timeouts;
    for (program, setting) in section.section("timeouts").entries::<Duration>() {
        not_zero(&section, &format!("timeouts.{program}"), &setting);
        timeouts.insert(program, setting.value);
    }
    let levels = levels(&mut section);
    let parallel = section.or("parallel", defaults.parallel);
    let options = Options {
        directory: section.or("directory", defaults.directory),
        vendor_directory: section.optional("vendor-directory"),
        timeout: timeout.map_or(defaults.timeout, |timeout| timeout.value),
        timeouts,
        grace: section.or("grace", defaults.grace),
        parallel,
        parallel_total: section.or("parallel-total", Options::total(parallel)),
        queue: count(limits, "queued-checks", defaults.queue),
        when_directory_missing: section
            .or("when-directory-missing", defaults.when_directory_missing),
        user: section.optional("user"),
        runtime_directory: runtime_directory.join("checks"),
        output_bytes: size(limits, "check-output-size", defaults.output_bytes),
        reason_bytes: size(limits, "check-reason-size", defaults.reason_bytes),
        parameters: parameters(limits, defaults.parameters),
        limits: resources(&mut section, defaults.limits),
        containment: defaults.containment,
    };
    section.finish();
    (options, levels)
}

/// Reads `[checks.builtin]`.
fn levels(checks: &mut Section<'_>) -> Levels {
    let mut accepted = Vec::new();
    for (code, setting) in checks.section("builtin").entries::<Level>() {
        match Levels::new([(code.as_str(), setting.value)]) {
            Ok(_) => accepted.push((code, setting.value)),
            Err(errors) => {
                for error in errors {
                    let message = format!("{}: {error}", checks.full("builtin"));
                    checks.report(&setting.place, message);
                }
            }
        }
    }
    let accepted = accepted.iter().map(|(code, level)| (code.as_str(), *level));
    Levels::new(accepted).unwrap_or_default()
}

fn parameters(limits: &mut Section<'_>, defaults: ParameterLimits) -> ParameterLimits {
    ParameterLimits {
        entries: count(limits, "check-parameters", defaults.entries),
        entry_bytes: size(limits, "check-parameter-size", defaults.entry_bytes),
        total_bytes: size(limits, "check-parameters-size", defaults.total_bytes),
    }
}

/// Reads `[checks.resources]`.
fn resources(checks: &mut Section<'_>, defaults: child::Limits) -> child::Limits {
    let mut section = checks.section("resources");
    let number = |section: &mut Section<'_>, key| {
        section.optional::<NonZeroUsize>(key).map(|number| number.get() as u64)
    };
    let bytes = |section: &mut Section<'_>, key| {
        section.optional::<Bytes>(key).map(|bytes| bytes.0.get() as u64)
    };
    let limits = child::Limits {
        open_files: number(&mut section, "open-files").or(defaults.open_files),
        processes: number(&mut section, "processes").or(defaults.processes),
        file_size: bytes(&mut section, "file-size").or(defaults.file_size),
        address_space: bytes(&mut section, "address-space").or(defaults.address_space),
    };
    section.finish();
    limits
}
