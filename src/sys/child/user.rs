//! The user a child runs as.

use std::ffi::CString;

use nix::{
    errno::Errno,
    unistd::{self, Gid, Uid, geteuid, getgrouplist},
};

/// A user's ids, groups included, looked up before any fork.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// Why a child can't run as a user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("there is no user `{name}'")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Only root may start programs as somebody else.
    #[error("only root can run programs as user `{name}'")]
    NotRoot {
        /// The name asked for.
        name: String,
    },
    /// The user data base does not answer.
    #[error("can't look up user `{name}'")]
    Lookup {
        /// The name asked for.
        name: String,
        /// What the system says.
        #[source]
        source: Errno,
    },
}

impl User {
    /// Looks a user up by name.
    ///
    /// # Errors
    /// [`UserError`] if there is none, or we may not become somebody else.
    pub fn named(name: &str) -> Result<Self, UserError> {
        let owned = || name.to_owned();
        let lookup = |source| UserError::Lookup { name: owned(), source };
        let unknown = || UserError::Unknown { name: owned() };
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let user = unistd::User::from_name(name).map_err(lookup)?.ok_or_else(unknown)?;
        if !geteuid().is_root() {
            return Err(UserError::NotRoot { name: owned() });
        }
        let groups = getgrouplist(&c_name, user.gid).map_err(lookup)?;
        Ok(Self { uid: user.uid, gid: user.gid, groups })
    }

    /// The numeric user and group id.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }
}
