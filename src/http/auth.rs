//! Who is asking? Decided from the head of a request, before its body is looked at.
//!
//! An `Authorization` header is believed or refused, never ignored; without one the connection's own
//! identity (a client certificate, a unix socket's peer) counts; without either there is no identity.
//! A password costs much to verify, and Basic authentication sends it with every request: a verified
//! one is remembered under a keyed hash that never leaves the process. For a minute it need not be
//! verified again; after that it is no guess, should others guess from the same address.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

#[cfg(feature = "pam")]
use super::pam;
use super::{
    AuthMode, AuthOptions, Limits,
    peer::{Origin, Peer},
    users::{MAX_PASSWORD, Users, UsersError},
};
use crate::{
    ops::{Principal, Role},
    sys::blocking::Slots,
    telemetry::{AUDIT, Chain, Clean, Throttle},
};

/// How long a verified password counts without being verified again. A password that was changed or removed in the users
/// file works on for no longer; a reload forgets all at once.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a login waits for its turn to be verified.
const PATIENCE: Duration = Duration::from_secs(10);
/// The period to which `limits.failed-logins` applies.
const MINUTE: Duration = Duration::from_secs(60);
/// Origins whose failures are counted at once.
const MAX_ORIGINS: usize = 10_000;

/// Why a request has no identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denial {
    /// It brings none, or none that is right.
    Unauthorized,
    /// Its origin sent too many wrong passwords; more are looked at after this time.
    TooMany { retry_after: Duration },
    /// Too many passwords are being verified.
    Busy,
}

/// Decides who is asking.
pub(super) struct Authenticator {
    options: AuthOptions,
    /// `None` if nobody is asked who they are.
    passwords: Option<Passwords>,
    key: hmac::Key,
    remembered: Mutex<HashMap<String, Remembered>>,
    failures: Mutex<HashMap<Origin, Bucket>>,
    failures_allowed: usize,
    slots: Slots,
}

/// Who judges passwords.
#[derive(Clone)]
enum Passwords {
    File(UsersFile),
    #[cfg(feature = "pam")]
    Pam(pam::Service),
}

impl Passwords {
    /// Whether others may be valid now than when this was last asked.
    fn have_changed(&self) -> bool {
        match self {
            Self::File(users) => users.refresh(),
            #[cfg(feature = "pam")]
            Self::Pam(_) => false,
        }
    }

    /// The role of whom name and password belong to.
    #[cfg_attr(not(feature = "pam"), expect(unused_variables, reason = "a file knows no origins"))]
    fn verify(&self, name: &str, password: &[u8], from: &Peer) -> Option<Role> {
        match self {
            Self::File(users) => users.users().verify(name, password),
            #[cfg(feature = "pam")]
            Self::Pam(service) => service.verify(name, password, from),
        }
    }
}

/// A user whose password was verified.
struct Remembered {
    tag: hmac::Tag,
    role: Role,
    /// Until then it need not be verified again.
    until: Instant,
}

impl Remembered {
    fn is(&self, tag: &hmac::Tag) -> bool {
        self.tag.as_ref().ct_eq(tag.as_ref()).into()
    }
}

impl Authenticator {
    /// Reads the users file, if the mode has one. It need not exist: then nobody can log in yet.
    pub(super) fn new(options: &AuthOptions, limits: &Limits) -> Result<Self, UsersError> {
        let passwords = match &options.mode {
            AuthMode::UsersFile(path) => Some(Passwords::File(UsersFile::open(path)?)),
            #[cfg(feature = "pam")]
            AuthMode::Pam { service } => {
                Some(Passwords::Pam(pam::Service::new(service, &options.groups)))
            }
            AuthMode::None => None,
        };
        Ok(Self {
            options: options.clone(),
            passwords,
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
                .expect("the system gives random bytes"),
            remembered: Mutex::default(),
            failures: Mutex::default(),
            failures_allowed: limits.failed_logins.get(),
            slots: Slots::new(limits.logins.get(), limits.connections.get()),
        })
    }

    pub(super) fn options(&self) -> &AuthOptions {
        &self.options
    }

    /// Reads the users file again and forgets verified passwords. On failure the users read before
    /// stay valid.
    pub(super) fn reload(&self) -> Result<(), UsersError> {
        match &self.passwords {
            Some(Passwords::File(users)) => users.reload()?,
            #[cfg(feature = "pam")]
            Some(Passwords::Pam(_)) => {}
            None => {}
        }
        self.remembered().clear();
        Ok(())
    }

    /// The identity of a verified client certificate, if its name has a role.
    pub(super) fn certificate(&self, common_name: &str) -> Option<Principal> {
        let role = *self.options.certificates.get(common_name)?;
        Some(Principal { name: common_name.to_owned(), role })
    }

    /// Who sent a request with these headers from there.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Principal, Denial> {
        let Some(passwords) = &self.passwords else { return anonymous(peer) };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let credentials = match (values.next(), values.next()) {
            (None, _) => return peer.identity.clone().ok_or(Denial::Unauthorized),
            (Some(value), None) => Credentials::read(value),
            (Some(_), Some(_)) => Err("more than one Authorization header"),
        };
        let credentials = credentials.map_err(|reason| {
            static THROTTLE: Throttle = Throttle::new(20, Duration::from_secs(3));
            if let Some(suppressed) = THROTTLE.admit() {
                info!(peer = %peer.name, reason, suppressed, "credentials cannot be understood");
            }
            Denial::Unauthorized
        })?;
        if let Some(role) = self.recall(&credentials) {
            return Ok(Principal { name: credentials.name, role });
        }
        // Who was right before guesses nothing, and is not locked out by those who do from the same address.
        let guesses = !self.was_right(&credentials);
        if guesses {
            // The attempt counts before it is judged: many at once are not one.
            self.count_attempt(peer)?;
        }
        let verified = self.verify(passwords, &credentials, peer).await;
        if guesses && !matches!(verified, Ok(None)) {
            self.uncount(peer);
        }
        match verified? {
            Some(role) => Ok(Principal { name: credentials.name, role }),
            None => {
                if !guesses {
                    // It is not right any more.
                    self.remembered().remove(&credentials.name);
                }
                let (name, user) = (&peer.name, Clean(&credentials.name));
                warn!(peer = name, %user, "login refused");
                info!(target: AUDIT, %user, peer = name, operation = "login", outcome = "refused");
                Err(Denial::Unauthorized)
            }
        }
    }

    async fn verify(
        self: &Arc<Self>,
        passwords: &Passwords,
        credentials: &Credentials,
        peer: &Peer,
    ) -> Result<Option<Role>, Denial> {
        let (this, passwords) = (self.clone(), passwords.clone());
        let (credentials, peer) = (credentials.clone(), peer.clone());
        let work = move || {
            if passwords.have_changed() {
                this.remembered().clear();
            }
            // Clients open several connections at once: while this one waited for its turn, the
            // same password may have been verified for another.
            let known = this.recall(&credentials);
            known.or_else(|| {
                let Credentials { name, password } = &credentials;
                let role = passwords.verify(name, password, &peer)?;
                this.remember(&credentials, role);
                Some(role)
            })
        };
        self.slots.run_within(PATIENCE, work).await.map_err(|_| Denial::Busy)
    }

    fn tag(&self, credentials: &Credentials) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps "ab"+"c" apart from "a"+"bc".
        context.update(&credentials.name.len().to_le_bytes());
        context.update(credentials.name.as_bytes());
        context.update(&credentials.password);
        context.sign()
    }

    fn recall(&self, credentials: &Credentials) -> Option<Role> {
        let tag = self.tag(credentials);
        let remembered = self.remembered();
        let known = remembered.get(&credentials.name)?;
        (known.until > Instant::now() && known.is(&tag)).then_some(known.role)
    }

    /// Whether the password was verified before, however long ago, and not found wrong since.
    fn was_right(&self, credentials: &Credentials) -> bool {
        let tag = self.tag(credentials);
        self.remembered().get(&credentials.name).is_some_and(|known| known.is(&tag))
    }

    /// There is one entry for a user at most, so there are never more than users.
    fn remember(&self, credentials: &Credentials, role: Role) {
        let entry =
            Remembered { tag: self.tag(credentials), role, until: Instant::now() + REMEMBERED };
        self.remembered().insert(credentials.name.clone(), entry);
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.remembered.lock().expect("no holder of this lock panics")
    }

    /// Refuses an origin that guesses.
    fn count_attempt(&self, peer: &Peer) -> Result<(), Denial> {
        let allowed = self.failures_allowed as f64;
        let mut failures = self.failures();
        if failures.len() >= MAX_ORIGINS {
            failures.retain(|_, bucket| bucket.level_of(allowed) > 0.0);
            if failures.len() >= MAX_ORIGINS {
                // So many origins cannot be told apart any more; start afresh, in bounded memory.
                failures.clear();
            }
        }
        let empty = Bucket { level: 0.0, leaked: Instant::now() };
        let bucket = failures.entry(peer.origin).or_insert(empty);
        let excess = bucket.level_of(allowed) + 1.0 - allowed;
        if excess > 0.0 {
            return Err(Denial::TooMany { retry_after: MINUTE.mul_f64(excess / allowed) });
        }
        bucket.level += 1.0;
        Ok(())
    }

    /// Takes an attempt back that was no failure.
    fn uncount(&self, peer: &Peer) {
        if let Some(bucket) = self.failures().get_mut(&peer.origin) {
            bucket.level = (bucket.level - 1.0).max(0.0);
        }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Origin, Bucket>> {
        self.failures.lock().expect("no holder of this lock panics")
    }
}

/// Without authentication everybody on this machine may do everything. Such a listener is bound to
/// loopback only; should one ever not be, its peers have no identity.
fn anonymous(peer: &Peer) -> Result<Principal, Denial> {
    if !peer.is_local() {
        return Err(Denial::Unauthorized);
    }
    let nobody = Principal { name: "anonymous".into(), role: Role::Admin };
    Ok(peer.identity.clone().unwrap_or(nobody))
}

/// Failures of one origin; they leak away within a minute.
struct Bucket {
    level: f64,
    leaked: Instant,
}

impl Bucket {
    /// How many failures are left in it now, of those allowed within a minute.
    fn level_of(&mut self, allowed: f64) -> f64 {
        let now = Instant::now();
        let gone = (now - self.leaked).as_secs_f64() / MINUTE.as_secs_f64() * allowed;
        self.level = (self.level - gone).max(0.0);
        self.leaked = now;
        self.level
    }
}

/// What an Authorization header says. Has no `Debug`.
#[derive(Clone)]
struct Credentials {
    name: String,
    password: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// Reads `Basic` credentials (RFC 7617).
    fn read(value: &HeaderValue) -> Result<Self, &'static str> {
        let value = value.as_bytes();
        let space = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, token) = value.split_at(space);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err("the scheme is not Basic");
        }
        let pair = STANDARD.decode(token.trim_ascii()).map(Zeroizing::new);
        let pair = pair.map_err(|_| "the token is not base64")?;
        let colon =
            pair.iter().position(|byte| *byte == b':').ok_or("the token has no colon in it")?;
        let name = std::str::from_utf8(&pair[..colon]).map_err(|_| "the name is not UTF-8")?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("the name is empty or has control characters in it");
        }
        let password = &pair[colon + 1..];
        if password.len() > MAX_PASSWORD {
            return Err("the password is too long");
        }
        Ok(Self { name: name.to_owned(), password: Zeroizing::new(password.to_vec()) })
    }
}

/// The users file, read again when it changes.
#[derive(Clone)]
struct UsersFile {
    path: PathBuf,
    read: Arc<Mutex<Read>>,
}

struct Read {
    stamp: Option<Stamp>,
    users: Arc<Users>,
}

/// What tells two versions of a file apart: edits replace it, and whoever makes it readable or safe again
/// changes its status.
#[derive(Eq, PartialEq)]
struct Stamp {
    inode: u64,
    length: u64,
    mode: u32,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            mode: metadata.mode(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl UsersFile {
    fn open(path: &Path) -> Result<Self, UsersError> {
        let stamp = Stamp::of(path);
        let users = Arc::new(Self::read(path)?);
        if stamp.is_none() {
            warn!(path = %path.display(), "there is no users file: nobody can log in by password");
        }
        let read = Arc::new(Mutex::new(Read { stamp, users }));
        Ok(Self { path: path.to_owned(), read })
    }

    /// A file that is not there is one without users.
    fn read(path: &Path) -> Result<Users, UsersError> {
        match Users::read(path) {
            Err(UsersError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Users::default())
            }
            result => result,
        }
    }

    fn reload(&self) -> Result<(), UsersError> {
        let stamp = Stamp::of(&self.path);
        let users = Arc::new(Self::read(&self.path)?);
        *self.lock() = Read { stamp, users };
        Ok(())
    }

    /// Reads the file again if it is another one now; whether it was. A file that has become unreadable
    /// changes nothing but the log.
    fn refresh(&self) -> bool {
        let stamp = Stamp::of(&self.path);
        let mut read = self.lock();
        if stamp == read.stamp {
            return false;
        }
        read.stamp = stamp;
        match Self::read(&self.path) {
            Ok(users) => {
                info!(path = %self.path.display(), "users file read again");
                read.users = Arc::new(users);
                true
            }
            Err(failure) => {
                error!(error = %Chain(&failure), "users file is unusable, the users before stay");
                false
            }
        }
    }

    /// The users as they were last read.
    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.lock().users)
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests;
