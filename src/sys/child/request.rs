//! What the daemon asks of the spawner: one message, its descriptors beside it.
//!
//! The message is a list of byte strings, each after its length: image, numbers, name of the control
//! group's leaf, arguments, environment. Both ends are the same program, so there are no versions.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::unistd::{Gid, Uid};

use super::{Image, Program, User};
use crate::sys::cgroup::Leaf;

/// The number of [`Request::limits`].
pub(super) const LIMITS: usize = 5;

/// What to run, without descriptors.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Request {
    /// `None` is the descriptor that comes along.
    pub(super) path: Option<CString>,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    /// Core, open files, processes, file size, address space.
    pub(super) limits: [Option<u64>; LIMITS],
    pub(super) user: Option<User>,
    /// The leaf's name, if a leaf comes along.
    pub(super) leaf: Option<CString>,
}

/// The descriptors of a request, in this order; what is missing is left out.
pub(super) struct Descriptors<F> {
    pub(super) control: F,
    pub(super) stdout: F,
    pub(super) stderr: F,
    pub(super) image: Option<F>,
    pub(super) leaf: Option<LeafDescriptors<F>>,
}

/// The descriptors of a control group's leaf.
pub(super) struct LeafDescriptors<F> {
    pub(super) group: F,
    pub(super) kill: F,
    pub(super) parent: F,
}

/// The most descriptors a request has.
pub(super) const MOST_DESCRIPTORS: usize = 7;

impl Request {
    /// Takes a program apart into the message and the descriptor of its image.
    pub(super) fn new(program: Program, leaf: Option<&Leaf<'_>>) -> (Self, Option<OwnedFd>) {
        let (path, image) = match program.image {
            Image::Descriptor(fd) => (None, Some(fd)),
            Image::Path(path) => (Some(path), None),
        };
        let limits = program.limits;
        let request = Self {
            path,
            arguments: program.arguments,
            environment: program.environment,
            limits: [
                Some(0),
                limits.open_files,
                limits.processes,
                limits.file_size,
                limits.address_space,
            ],
            user: program.user,
            leaf: leaf.map(|leaf| leaf.place().1.clone()),
        };
        (request, image)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| {
            out.extend((bytes.len() as u64).to_ne_bytes());
            out.extend(bytes);
        };
        put_optional(&mut put, self.path.as_ref());
        put_optional(&mut put, self.leaf.as_ref());
        for limit in self.limits {
            put(limit.map(u64::to_ne_bytes).as_ref().map_or(&[], <[u8; 8]>::as_slice));
        }
        let ids = self.user.iter().flat_map(|user| {
            let groups = user.groups.iter().map(|gid| gid.as_raw());
            [user.uid.as_raw(), user.gid.as_raw()].into_iter().chain(groups)
        });
        put(&ids.flat_map(u32::to_ne_bytes).collect::<Vec<_>>());
        put(&(self.arguments.len() as u64).to_ne_bytes());
        self.arguments.iter().chain(&self.environment).for_each(|text| put(text.as_bytes()));
        out
    }

    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        let mut rest = message;
        let mut take = || {
            let (length, tail) = rest.split_first_chunk()?;
            let (bytes, tail) = tail.split_at_checked(u64::from_ne_bytes(*length) as usize)?;
            rest = tail;
            Some(bytes)
        };
        let path = take_optional(take()?)?;
        let leaf = take_optional(take()?)?;
        let mut limits = [None; LIMITS];
        for limit in &mut limits {
            let bytes = take()?;
            *limit = bytes.try_into().ok().map(u64::from_ne_bytes);
        }
        let ids: Vec<_> = take()?.as_chunks().0.iter().map(|id| u32::from_ne_bytes(*id)).collect();
        let user = match ids.as_slice() {
            [] => None,
            [uid, gid, groups @ ..] => Some(User {
                uid: Uid::from_raw(*uid),
                gid: Gid::from_raw(*gid),
                groups: groups.iter().map(|gid| Gid::from_raw(*gid)).collect(),
            }),
            [_] => return None,
        };
        let count = u64::from_ne_bytes(take()?.try_into().ok()?) as usize;
        let mut strings = Vec::new();
        while let Some(bytes) = take() {
            strings.push(CString::new(bytes).ok()?);
        }
        if count > strings.len() {
            return None;
        }
        let environment = strings.split_off(count);
        Some(Self { path, arguments: strings, environment, limits, user, leaf })
    }
}

/// A string that may be missing: empty, or a mark and the string.
fn put_optional(put: &mut impl FnMut(&[u8]), text: Option<&CString>) {
    match text {
        None => put(&[]),
        Some(text) => put(&[b"+", text.as_bytes()].concat()),
    }
}

fn take_optional(bytes: &[u8]) -> Option<Option<CString>> {
    match bytes.split_first() {
        None => Some(None),
        Some((_, text)) => Some(Some(CString::new(text).ok()?)),
    }
}

impl<'a> Descriptors<BorrowedFd<'a>> {
    /// In the order of sending.
    pub(super) fn list(&self) -> Vec<BorrowedFd<'a>> {
        let leaf = self.leaf.iter().flat_map(|leaf| [leaf.group, leaf.kill, leaf.parent]);
        [self.control, self.stdout, self.stderr].into_iter().chain(self.image).chain(leaf).collect()
    }
}

impl Descriptors<OwnedFd> {
    /// From the order of sending, as the request tells which there are.
    pub(super) fn from_list(list: Vec<OwnedFd>, request: &Request) -> Option<Self> {
        let mut list = list.into_iter();
        let mut next = || list.next();
        Some(Self {
            control: next()?,
            stdout: next()?,
            stderr: next()?,
            image: if request.path.is_none() { Some(next()?) } else { None },
            leaf: match request.leaf {
                Some(_) => Some(LeafDescriptors { group: next()?, kill: next()?, parent: next()? }),
                None => None,
            },
        })
    }
}

impl<'a> LeafDescriptors<BorrowedFd<'a>> {
    pub(super) fn new(leaf: &'a Leaf<'_>) -> Self {
        Self {
            group: leaf.group().as_fd(),
            kill: leaf.kill_file().as_fd(),
            parent: leaf.place().0.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> CString {
        CString::new(text).expect("no NUL")
    }

    #[test]
    fn requests_survive_the_socket() {
        let plain = Request {
            path: None,
            arguments: vec![],
            environment: vec![],
            limits: [None; LIMITS],
            user: None,
            leaf: None,
        };
        let full = Request {
            path: Some(c("/bin/sh")),
            arguments: vec![c("sh"), c(""), c("\u{fc}\n")],
            environment: vec![c("A=b"), c("EMPTY=")],
            limits: [Some(0), None, Some(u64::MAX), Some(1), None],
            user: Some(User {
                uid: Uid::from_raw(5),
                gid: Gid::from_raw(6),
                groups: vec![Gid::from_raw(6), Gid::from_raw(7)],
            }),
            leaf: Some(c("leaf")),
        };
        let empty_strings = Request { path: Some(c("")), leaf: Some(c("")), ..plain };
        for request in [full, empty_strings] {
            let message = request.encode();
            assert_eq!(Request::decode(&message), Some(request));
            for cut in 0..40 {
                // Never a panic, whatever comes.
                Request::decode(&message[..cut.min(message.len())]);
            }
        }
    }
}
