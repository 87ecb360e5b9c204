//! Names and passwords that PAM judges (Linux-PAM, `pam_authenticate(3)` and `pam_acct_mgmt(3)`).
//!
//! PAM says who somebody is; what they may do is told by the groups of that user on this machine. A
//! module that asks for more than a password gets no answer, and the login fails: Basic authentication
//! has nothing more to say. Modules are told the address from which the login comes, and a terminal that
//! does not exist, for rules that go by either.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

use nonstick::{
    AuthnFlags, ConversationAdapter, ErrorCode, PamShared, Transaction, TransactionBuilder,
    items::{Items, ItemsMut},
};
use tracing::warn;

use super::peer::{self, Peer};
use crate::{
    ops::Role,
    telemetry::{Clean, Throttle},
};

/// The terminal that modules are told of.
const TERMINAL: &str = "virtcimd";

/// A PAM service, and what its users may do.
#[derive(Clone, Debug)]
pub(super) struct Service {
    name: String,
    /// The roles of users by the name of a group they are in.
    groups: BTreeMap<String, Role>,
}

impl Service {
    pub(super) fn new(name: &str, groups: &BTreeMap<String, Role>) -> Self {
        Self { name: name.to_owned(), groups: groups.clone() }
    }

    /// The role of the user of that name and password, who asks from there; `None` if either is wrong,
    /// the account may not be used, or none of its groups has a role. Blocks, for seconds where modules
    /// delay the answer to a wrong password.
    pub(super) fn verify(&self, name: &str, password: &[u8], from: &Peer) -> Option<Role> {
        let user = Clean(name);
        match self.ask(name, password, from) {
            Ok(()) => {}
            Err(ErrorCode::AuthenticationError | ErrorCode::UserUnknown) => return None,
            Err(error) => {
                static THROTTLE: Throttle = Throttle::new(20, Duration::from_secs(3));
                if let Some(suppressed) = THROTTLE.admit() {
                    let service = &self.name;
                    warn!(service, %user, %error, suppressed, "PAM lets the user not in");
                }
                return None;
            }
        }
        let role = peer::role_of_name(name, &self.groups);
        if role.is_none() {
            warn!(%user, "none of the user's groups has a role");
        }
        role
    }

    fn ask(&self, name: &str, password: &[u8], from: &Peer) -> nonstick::Result<()> {
        // libpam's texts end at a NUL, and the crate breaks off the whole program over one.
        if password.contains(&0) || name.contains('\0') {
            return Err(ErrorCode::AuthenticationError);
        }
        let answers = Answers { password: Cell::new(Some(OsStr::from_bytes(password).to_owned())) };
        let mut transaction = TransactionBuilder::new_with_service(&self.name)
            .username(name)
            .build(answers.into_conversation())?;
        {
            let mut items = transaction.items_mut();
            items.set_remote_host(Some(from.host().as_ref()))?;
            items.set_tty_name(Some(TERMINAL.as_ref()))?;
        }
        transaction.authenticate(AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK)?;
        transaction.account_management(AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK)?;
        // A module may have made somebody else of them, whose groups we would not look up.
        if transaction.items().user()?.as_deref() == Some(OsStr::new(name)) {
            Ok(())
        } else {
            Err(ErrorCode::UserUnknown)
        }
    }
}

/// Answers one question for a password, and nothing else.
struct Answers {
    password: Cell<Option<OsString>>,
}

impl ConversationAdapter for Answers {
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        self.password.take().ok_or(ErrorCode::ConversationError)
    }

    fn error_msg(&self, _: impl AsRef<OsStr>) {}

    fn info_msg(&self, _: impl AsRef<OsStr>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_for_a_password_is_answered_and_nothing_else() {
        let answers = Answers { password: Cell::new(Some("secret".into())) };
        let refused = Err(ErrorCode::ConversationError);
        assert_eq!(answers.prompt("one-time code:"), refused);
        assert_eq!(answers.masked_prompt("Password:"), Ok("secret".into()));
        assert_eq!(answers.masked_prompt("New password:"), refused);
        assert_eq!(answers.radio_prompt("yes or no?"), refused);
    }
}
