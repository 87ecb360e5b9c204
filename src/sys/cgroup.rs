//! Control groups (version 2) of our own: one leaf per child, killed as a whole.
//!
//! Leaves are made below the group the daemon itself is in. Under systemd that needs `Delegate=yes`;
//! elsewhere root may usually write there. Where it is not possible [`Subtree::find`] says so with `None`
//! and children are supervised without. No controllers are enabled: a leaf is there to be killed
//! (`cgroup.kill`, Linux 5.14), which catches forks in flight and does not ask whose processes they are.

use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    poll::{PollFd, PollFlags},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::poll_until;

/// What names of leaves begin with; the daemon's process id and a number follow.
const PREFIX: &str = "virtcimd-check-";

/// How long the removal of a leaf waits for killed processes to be gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// A part of the control group hierarchy that is ours to write.
#[derive(Debug)]
pub struct Subtree {
    directory: OwnedFd,
    path: PathBuf,
}

impl Subtree {
    /// Finds the group this process is in and makes sure, by doing it once, that leaves can be made
    /// there. Leaves that a killed daemon left behind are removed.
    pub fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own_group(&mounts, &membership)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(&path, flags, Mode::empty()).ok()?;
        let subtree = Self { directory, path };
        subtree.sweep();
        subtree.leaf().ok()?;
        Some(subtree)
    }

    /// The directory of the group that holds the leaves.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a leaf.
    pub(super) fn leaf(&self) -> Result<Leaf<'_>, Errno> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let name = CString::new(name).expect("no NUL in digits");
        mkdirat(&self.directory, name.as_c_str(), Mode::from_bits_truncate(0o755))?;
        let handles = open_below(&self.directory, &name, OFlag::O_DIRECTORY).and_then(|group| {
            let kill = open_below(&group, c"cgroup.kill", OFlag::O_WRONLY)?;
            Ok((group, kill))
        });
        match handles {
            Ok((group, kill)) => Ok(Leaf { subtree: self, name, group, kill }),
            Err(error) => {
                self.remove(&name).ok();
                Err(error)
            }
        }
    }

    fn remove(&self, name: &CString) -> Result<(), Errno> {
        unlinkat(&self.directory, name.as_c_str(), UnlinkatFlags::RemoveDir)
    }

    /// Removes the empty leaves of daemons that are no more.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let Some(owner) = owner.and_then(|rest| rest.split('-').next()) else { continue };
            if !Path::new("/proc").join(owner).exists() {
                // A leaf that still holds processes refuses to go, and their reaper is at work.
                fs::remove_dir(entry.path()).ok();
            }
        }
    }
}

/// One child's control group; gone, with all its processes, when dropped.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    subtree: &'a Subtree,
    name: CString,
    group: OwnedFd,
    kill: OwnedFd,
}

impl Leaf<'_> {
    /// The leaf's directory, for a fork into it.
    pub(super) fn group(&self) -> &OwnedFd {
        &self.group
    }

    /// The leaf's `cgroup.kill`; writing `1` kills all in it.
    pub(super) fn kill_file(&self) -> &OwnedFd {
        &self.kill
    }

    /// The group above and the leaf's name there, for its removal.
    pub(super) fn place(&self) -> (&OwnedFd, &CString) {
        (&self.subtree.directory, &self.name)
    }

    /// Kills what is in the leaf and waits for it to be gone.
    fn empty(&self) -> io::Result<()> {
        let events = File::from(open_below(&self.group, c"cgroup.events", OFlag::O_RDONLY)?);
        File::from(self.kill.try_clone()?).write_all(b"1")?;
        let until = Instant::now() + PATIENCE;
        let mut text = [0; 128];
        loop {
            let length = events.read_at(&mut text, 0)?;
            let populated = text.get(..length).is_some_and(|text| {
                text.split(|byte| *byte == b'\n').any(|line| line == b"populated 1")
            });
            if !populated {
                return Ok(());
            }
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            if poll_until(&mut fds, Some(until))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Drop for Leaf<'_> {
    fn drop(&mut self) {
        // The reaper has removed it, unless somebody killed the reaper or something can't be killed.
        if self.subtree.remove(&self.name) == Err(Errno::EBUSY) {
            let emptied = self.empty();
            if emptied.is_err() || self.subtree.remove(&self.name).is_err() {
                tracing::error!(
                    path = %self.subtree.path.join(self.name.to_string_lossy().as_ref()).display(),
                    "control group still holds processes"
                );
            }
        }
    }
}

fn open_below(directory: &OwnedFd, name: &CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    openat(directory, name, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// The directory of this process's version 2 group, from `/proc/self/mountinfo` and `/proc/self/cgroup`.
///
/// On hybrid hosts the mount is `/sys/fs/cgroup/unified`, in containers its root may be a group.
fn own_group(mounts: &str, membership: &str) -> Option<PathBuf> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    if group.starts_with("/..") {
        return None; // outside our namespace: we may not name it
    }
    mounts.lines().find_map(|line| {
        // 41 31 0:38 /ROOT /MOUNT-POINT rw,relatime [optional…] - cgroup2 cgroup2 rw
        let (head, tail) = line.split_once(" - ")?;
        if tail.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = head.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        let below = Path::new(group).strip_prefix(unescape(root)).ok()?;
        Some(Path::new(&unescape(mount_point)).join(below))
    })
}

/// Undoes mountinfo's `\040` and the like.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if code.is_ascii() => {
                out.push(char::from(code));
                out.push_str(&part[3..]);
            }
            _ => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mounts: &str, membership: &str, expected: Option<&str>) {
        assert_eq!(own_group(mounts, membership).as_deref(), expected.map(Path::new));
    }

    #[test]
    fn finds_the_group_where_it_is_mounted() {
        let unified = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let service = "0::/system.slice/virtcimd.service\n";
        check(unified, service, Some("/sys/fs/cgroup/system.slice/virtcimd.service"));
        let mixed = "9:name=systemd:/\n4:memory:/x\n0::/system.slice/virtcimd.service\n";
        check(hybrid, mixed, Some("/sys/fs/cgroup/unified/system.slice/virtcimd.service"));
        check(hybrid, "0::/", Some("/sys/fs/cgroup/unified/"));
        check("", service, None);
        check("31 23 0:28 / / rw - ext4 /dev/vda rw", service, None);
        check(unified, "4:memory:/x\n", None);
    }

    #[test]
    fn respects_mounts_of_a_part_of_the_hierarchy() {
        let part = r"31 23 0:28 /box /run/c\040g rw - cgroup2 none rw";
        check(part, "0::/box/inner", Some("/run/c g/inner"));
        check(part, "0::/other", None);
        check(part, "0::/../other", None);
    }

    #[test]
    fn unescapes_only_octal_codes() {
        assert_eq!(unescape(r"a\040b\134c"), r"a b\c");
        assert_eq!(unescape(r"a\zzzb\04"), r"a\zzzb\04");
    }

    #[test]
    fn a_leaf_comes_and_goes() {
        let Some(subtree) = Subtree::find() else { return };
        let path = {
            let leaf = subtree.leaf().expect("a second leaf");
            let path = subtree.path().join(leaf.name.to_str().expect("plain"));
            assert!(path.join("cgroup.kill").exists());
            path
        };
        assert!(!path.exists());
    }
}
