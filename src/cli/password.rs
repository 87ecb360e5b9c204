//! Asking for a password on a terminal.

use std::io::{BufRead, Write};

use anyhow::Context as _;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Shows `prompt` on standard error and reads a line from standard input without echo.
///
/// # Errors
/// If standard input is no terminal, or ends, or the line is empty.
pub fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let echo = EchoOff::new(&stdin).context("standard input is no terminal")?;
    write!(std::io::stderr(), "{prompt}")?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    drop(echo);
    writeln!(std::io::stderr())?;
    read.context("cannot read the password")?;
    let password = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    Ok(password)
}

/// Echo is off while this lives.
struct EchoOff<'a> {
    terminal: &'a std::io::Stdin,
    before: Termios,
}

impl<'a> EchoOff<'a> {
    fn new(terminal: &'a std::io::Stdin) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before) {
            tracing::warn!(%error, "terminal echo stays off");
        }
    }
}
