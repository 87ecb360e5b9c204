//! `virtcimd user …`: the users file by hand.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use zeroize::Zeroizing;

use super::{exit, password::ask};
use crate::{
    config::{self, ConfigError, Overrides},
    http::{
        AuthMode,
        users::{self, Put, Users, UsersError},
    },
};

/// `virtcimd user …`.
#[derive(Args, Debug)]
pub struct UserArgs {
    /// The users file, if not that of the configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub users_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What `virtcimd user` does.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, or give an existing one a new password and role. The password is asked for on a
    /// terminal; elsewhere it is the first line of standard input
    Add {
        /// The user's name
        name: String,
        /// What the user may do
        #[arg(long, default_value = "operator", value_parser = role_words())]
        role: String,
    },
    /// Remove a user
    Remove {
        /// The user's name
        name: String,
    },
    /// List users and their roles
    List {
        /// Only this user
        name: Option<String>,
    },
}

fn role_words() -> PossibleValuesParser {
    users::ROLES.iter().map(|(word, _)| *word).into()
}

/// Why a user command failed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The configuration that names the users file is wrong.
    #[error("the configuration is wrong: fix it, or name the file with --users-file")]
    Config(#[from] ConfigError),
    /// The configuration has no users file.
    #[error("auth.mode is \"none\": there is no users file; name one with --users-file")]
    NoFile,
    /// The users file.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The password could not be read.
    #[error("cannot read the password")]
    Password(#[source] anyhow::Error),
    /// Two different passwords were typed.
    #[error("the passwords differ")]
    Differ,
    /// Nothing can be said.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl UserError {
    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoFile => exit::CONFIG,
            Self::Users(UsersError::Unknown { .. }) | Self::Password(_) | Self::Differ => {
                exit::REFUSED
            }
            Self::Users(UsersError::Name | UsersError::Password) => exit::USAGE,
            Self::Users(UsersError::Line { .. } | UsersError::Writable { .. }) => exit::CONFIG,
            Self::Users(UsersError::Read { .. }) => exit::NO_INPUT,
            Self::Users(UsersError::Write { .. }) => exit::CANNOT_CREATE,
            Self::Output(_) => exit::IO,
        }
    }
}

/// Carries a user command out.
///
/// # Errors
/// [`UserError`].
pub fn run(arguments: &UserArgs, config: Option<&Path>) -> Result<(), UserError> {
    let path = match &arguments.users_file {
        Some(path) => path.clone(),
        None => match config::load(config, &Overrides::default())?.http.auth.mode {
            AuthMode::UsersFile(path) => path,
            #[cfg(feature = "pam")]
            AuthMode::Pam { .. } => return Err(UserError::NoFile),
            AuthMode::None => return Err(UserError::NoFile),
        },
    };
    let mut out = io::stdout().lock();
    let said = match &arguments.command {
        UserCommand::Add { name, role } => {
            let role = users::role_from_str(role).expect("clap admits roles only");
            let password = password(name)?;
            match users::put(&path, name, role, password.as_bytes())? {
                Put::Added => writeln!(out, "{name} added"),
                Put::Changed => writeln!(out, "{name} changed"),
            }
        }
        UserCommand::Remove { name } => {
            users::remove(&path, name)?;
            writeln!(out, "{name} removed")
        }
        UserCommand::List { name } => {
            let users = Users::read(&path)?;
            let list = users.list();
            let wanted: Vec<_> = list
                .iter()
                .filter(|(user, _)| name.as_ref().is_none_or(|name| name == user))
                .collect();
            if let (Some(name), true) = (name, wanted.is_empty()) {
                return Err(UsersError::Unknown { name: name.clone() }.into());
            }
            let width = wanted.iter().map(|(user, _)| user.chars().count()).max().unwrap_or(0);
            wanted.iter().try_for_each(|(user, role)| {
                writeln!(out, "{user:width$}  {}", users::role_as_str(*role))
            })
        }
    };
    said.map_err(UserError::Output)
}

/// Asks for the password twice on a terminal; elsewhere reads one line.
fn password(name: &str) -> Result<Zeroizing<String>, UserError> {
    if io::stdin().is_terminal() {
        let first = ask(&format!("Password for {name}: ")).map_err(UserError::Password)?;
        let again = ask("Once more: ").map_err(UserError::Password)?;
        return if first == again { Ok(first) } else { Err(UserError::Differ) };
    }
    first_line(io::stdin().lock()).map_err(|error| UserError::Password(error.into()))
}

/// The first line, without its end. Reads no more than a password can be long.
fn first_line(input: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    input.take(users::MAX_PASSWORD as u64 + 2).read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for (input, password) in
            [("secret\n", "secret"), ("a b\r\nmore\n", "a b"), ("", ""), (" x ", " x ")]
        {
            assert_eq!(*first_line(input.as_bytes()).unwrap(), password);
        }
    }
}
