//! The first line of a script: which programs will interpret it.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How much of a file the kernel looks at.
pub(super) const HEAD: usize = 256;

/// The interpreter of a script, and what it is told.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Shebang {
    /// Absolute: a check starts in the root directory.
    pub(super) interpreter: PathBuf,
    /// The rest of the line, one argument.
    argument: Vec<u8>,
}

impl Shebang {
    /// Reads the beginning of a file as the kernel does; `None` if it is no script.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let line = head.strip_prefix(b"#!")?;
        let line = line.split(|byte| *byte == b'\n' || *byte == 0).next()?;
        let line = trim(line);
        let end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
        let (interpreter, argument) = line.split_at(end);
        Some(Self {
            interpreter: Path::new("/").join(OsStr::from_bytes(interpreter)),
            argument: trim(argument).to_owned(),
        })
    }

    /// The program that `env` will look for, if `env` is the interpreter.
    pub(super) fn looked_for(&self) -> Option<&OsStr> {
        if self.interpreter.file_name()? != "env" {
            return None;
        }
        let words = self.argument.split(|byte| is_blank(*byte));
        let mut words = words.map(|word| word.strip_prefix(b"-S").unwrap_or(word));
        let program = words
            .find(|word| !word.is_empty() && !word.starts_with(b"-") && !word.contains(&b'='))?;
        Some(OsStr::from_bytes(program))
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: Option<(&str, Option<&str>)>) {
        let shebang = Shebang::parse(head.as_bytes());
        let found = shebang.as_ref().map(|shebang| {
            let looked_for = shebang.looked_for().map(|name| name.to_str().expect("UTF-8"));
            (shebang.interpreter.to_str().expect("UTF-8"), looked_for)
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn first_lines() {
        check("#!/bin/sh\nexit 0\n", Some(("/bin/sh", None)));
        check("#! \t/bin/sh -e \t\n", Some(("/bin/sh", None)));
        check("#!/bin/sh", Some(("/bin/sh", None)));
        check("#!bin/sh\n", Some(("/bin/sh", None)));
        check("#!/usr/bin/env python3\n", Some(("/usr/bin/env", Some("python3"))));
        check("#!/usr/bin/env -S A=b python3 -u\n", Some(("/usr/bin/env", Some("python3"))));
        check("#!/usr/bin/env -Spython3 -u\n", Some(("/usr/bin/env", Some("python3"))));
        check("#!/usr/bin/env\n", Some(("/usr/bin/env", None)));
        check("\x7fELF", None);
        check("", None);
        check("#", None);
        check("#!\n", Some(("/", None)));
    }
}
