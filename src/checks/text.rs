//! What checks write, made fit for messages.

use std::{ffi::OsStr, time::Duration};

use nix::sys::signal::Signal;

/// The most warnings taken from one check.
const MOST_WARNINGS: usize = 8;

/// The first line that says something: of standard output, else of standard error.
pub(super) fn first_line(stdout: &[u8], stderr: &[u8], most: usize) -> Option<String> {
    lines(stdout, most).next().or_else(|| lines(stderr, most).next())
}

/// The lines of standard output that begin with `warning:`, without that.
pub(super) fn warnings(stdout: &[u8], most: usize) -> Vec<String> {
    const MARK: &str = "warning:";
    lines(stdout, most)
        .filter_map(|line| {
            let (mark, warning) = line.split_at_checked(MARK.len())?;
            mark.eq_ignore_ascii_case(MARK).then(|| warning.trim().to_owned())
        })
        .filter(|warning| !warning.is_empty())
        .take(MOST_WARNINGS)
        .collect()
}

/// A file name or path for people.
pub(super) fn display(name: &OsStr) -> String {
    clean(&name.to_string_lossy())
}

/// The non-empty lines, sanitised and cut after so many bytes.
fn lines(output: &[u8], most: usize) -> impl Iterator<Item = String> {
    output
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(move |line| cut(clean(&String::from_utf8_lossy(line)).trim(), most).to_owned())
        .filter(|line| !line.is_empty())
}

/// Without what moves the cursor, turns the writing direction or may not stand in XML.
fn clean(text: &str) -> String {
    let visible = |character: &char| {
        !character.is_control()
            && !matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            && !matches!(character, '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(visible).collect()
}

/// At most so many bytes, whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `signal 9 (SIGKILL)`.
pub(super) fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("signal {number} ({})", signal.as_str()),
        Err(_) => format!("signal {number}"),
    }
}

/// `10 s`, `250 ms`.
pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis if millis < 1000 => format!("{millis} ms"),
        _ => format!("{} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stdout: &str, stderr: &str, expected: Option<&str>) {
        assert_eq!(first_line(stdout.as_bytes(), stderr.as_bytes(), 1024).as_deref(), expected);
    }

    #[test]
    fn the_first_line_that_says_something() {
        check("", "", None);
        check("\n \n\t\r\n", "\x1b\n", None);
        check("\n\n  no space left \nmore\n", "error", Some("no space left"));
        check("\n\n", "\nerror\n", Some("error"));
        check("a\rb", "", Some("a"));
    }

    #[test]
    fn lines_are_sanitised() {
        check("\x1b[31mred\x07\tand\u{202e}back\u{9b}\0", "", Some("[31mred andback"));
        check("\u{fffe}x\u{ffff}", "", Some("x"));
        assert_eq!(first_line(b"caf\xe9", b"", 1024).as_deref(), Some("caf\u{fffd}"));
    }

    #[test]
    fn lines_are_cut_at_a_character() {
        let long = format!("x{}", "\u{fc}".repeat(600));
        let line = first_line(long.as_bytes(), b"", 1024).expect("a line");
        assert_eq!(line.len(), 1023);
        check(&"y".repeat(2000), "", Some(&"y".repeat(1024)));
    }

    #[test]
    fn warnings_are_marked() {
        let out = "fine\nWarning: one\n  warning:two\nwarnings: no\nwarning:\nno warning: here\n";
        assert_eq!(warnings(out.as_bytes(), 1024), ["one", "two"]);
        assert_eq!(warnings("warning: x\n".repeat(20).as_bytes(), 1024).len(), MOST_WARNINGS);
        assert_eq!(warnings("w\u{fc}rning:".as_bytes(), 1024), [] as [String; 0]);
    }

    #[test]
    fn times_and_signals() {
        assert_eq!(seconds(Duration::from_secs(10)), "10 s");
        assert_eq!(seconds(Duration::from_millis(250)), "250 ms");
        assert_eq!(seconds(Duration::from_millis(2500)), "2.5 s");
        assert_eq!(signal(9), "signal 9 (SIGKILL)");
        assert_eq!(signal(40), "signal 40");
    }
}
