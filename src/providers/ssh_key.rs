//! The key of migrations with MigrationWithoutRootKey: put in place with MigrateSSHKeyCopy, removed
//! with MigrateSSHKeyDelete.
//!
//! libvirt-cim copied any file with a shell. Here source and copy are files of one directory that the
//! administrator names (`migration.ssh-key-directory`), reached through its descriptor; links are not
//! followed, and the copy takes the place of the old one at once or not at all.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat, renameat},
    sys::stat::{Mode, SFlag, fstat},
    unistd::{UnlinkatFlags, unlinkat},
};

use crate::ops::ProviderError;

/// The copy's name in the directory.
const COPY: &str = "migration-key";

/// What it is called until it is whole.
const UNFINISHED: &str = ".migration-key.new";

/// No key is larger.
const MAX_SIZE: u64 = 64 << 10;

const NOT_ENABLED: &str = "Migration with special ssh key is not enabled in config file.";

/// Makes the file `source` the key. Blocks.
pub(super) fn copy(directory: Option<&Path>, source: Option<&str>) -> Result<(), ProviderError> {
    let directory = enabled(directory)?;
    let source = source.ok_or_else(|| failed("Failed to get property 'SSH_Key_Src'."))?;
    let wrong = |why: &dyn std::fmt::Display| {
        let target = directory.join(COPY);
        let target = target.display();
        failed(&format!("Got error in copying ssh key from [{source}] to [{target}]. {why}"))
    };
    let name = file_in(directory, source)
        .ok_or_else(|| wrong(&format!("It is no file in {}", directory.display())))?;
    copy_within(directory, name).map_err(|error| wrong(&error))
}

/// Removes the key. Blocks.
pub(super) fn delete(directory: Option<&Path>) -> Result<(), ProviderError> {
    let directory = enabled(directory)?;
    let path = directory.join(COPY);
    let removed = open_directory(directory)
        .and_then(|directory| Ok(unlinkat(&directory, COPY, UnlinkatFlags::NoRemoveDir)?));
    removed.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            failed(&format!("Can not find file [{}] before delete.", path.display()))
        }
        _ => failed(&format!("Failed to delete [{}]. {error}", path.display())),
    })
}

/// The URI that finds the destination with the key.
pub(super) fn uri_with_key(directory: Option<&Path>, uri: &str) -> Result<String, ProviderError> {
    let path = enabled(directory)?.join(COPY);
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    if !scheme.ends_with("+ssh") {
        let text = "MigrationWithoutRootKey: only transport ssh has a key";
        return Err(ProviderError::InvalidParameter(text.to_owned()));
    }
    let separator = if uri.contains('?') { '&' } else { '?' };
    Ok(format!("{uri}{separator}keyfile={}", escaped(&path)))
}

/// A path as a URI's parameter.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn enabled(directory: Option<&Path>) -> Result<&Path, ProviderError> {
    directory.ok_or_else(|| failed(NOT_ENABLED))
}

/// The name of a file that stands in the directory itself, given by its name or its whole path.
fn file_in<'a>(directory: &Path, source: &'a str) -> Option<&'a str> {
    let name = match source.rsplit_once('/') {
        None => source,
        Some((parent, name)) if Path::new(parent) == directory => name,
        Some(_) => return None,
    };
    let good = !matches!(name, "" | "." | ".." | COPY | UNFINISHED) && !name.contains('\0');
    good.then_some(name)
}

fn open_directory(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(open(directory, flags | OFlag::O_RDONLY, Mode::empty())?)
}

fn copy_within(directory: &Path, name: &str) -> io::Result<()> {
    let directory = open_directory(directory)?;
    let key = read_key(&directory, name)?;
    match unlinkat(&directory, UNFINISHED, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let mut copy = File::from(openat(&directory, UNFINISHED, flags | OFlag::O_CLOEXEC, mode)?);
    copy.write_all(&key)?;
    copy.sync_all()?;
    renameat(&directory, UNFINISHED, &directory, COPY)?;
    Ok(())
}

fn read_key(directory: impl AsFd, name: &str) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    // A FIFO must not keep us.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut key = zeroize::Zeroizing::new(Vec::new());
    file.take(MAX_SIZE + 1).read_to_end(&mut key)?;
    if key.len() as u64 > MAX_SIZE {
        let text = format!("it is larger than {MAX_SIZE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(key)
}

fn failed(text: &str) -> ProviderError {
    ProviderError::Failed(text.to_owned())
}

/// Runs one of these where blocking is no harm.
pub(super) async fn blocking(
    directory: Option<PathBuf>,
    work: impl FnOnce(Option<&Path>) -> Result<(), ProviderError> + Send + 'static,
) -> Result<(), ProviderError> {
    let done = tokio::task::spawn_blocking(move || work(directory.as_deref())).await;
    done.unwrap_or_else(|error| Err(ProviderError::Failed(error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[track_caller]
    fn fails(result: Result<(), ProviderError>, text: &str) {
        let error = result.unwrap_err();
        assert!(matches!(error, ProviderError::Failed(_)), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }

    #[test]
    fn a_key_is_copied_for_its_owner_alone_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let directory = Some(home.path());
        fs::write(home.path().join("id"), "secret").unwrap();
        fs::write(home.path().join("id2"), "other").unwrap();
        copy(directory, Some("id")).unwrap();
        let target = home.path().join(COPY);
        assert_eq!(fs::read(&target).unwrap(), b"secret");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        copy(directory, home.path().join("id2").to_str()).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"other");
        assert!(!home.path().join(UNFINISHED).exists());
        delete(directory).unwrap();
        assert!(!target.exists());
        fails(delete(directory), "Can not find file [");
    }

    #[test]
    fn only_plain_files_of_the_directory_are_copied() {
        let home = tempfile::tempdir().unwrap();
        let keys = home.path().join("keys");
        fs::create_dir(&keys).unwrap();
        fs::write(home.path().join("outside"), "secret").unwrap();
        fs::write(keys.join("id"), "key").unwrap();
        fs::write(keys.join("large"), vec![b'x'; 70_000]).unwrap();
        symlink(home.path().join("outside"), keys.join("link")).unwrap();
        nix::unistd::mkfifo(&keys.join("fifo"), Mode::S_IRUSR).unwrap();
        copy(Some(&keys), Some("id")).unwrap();
        let outside = home.path().join("outside");
        let long_way = keys.join("../outside");
        for name in [
            outside.to_str().unwrap(),
            long_way.to_str().unwrap(),
            "../outside",
            "link",
            "fifo",
            "large",
            "none",
            "",
            ".",
            "..",
            COPY,
            "$(id)",
        ] {
            fails(copy(Some(&keys), Some(name)), "Got error in copying ssh key from [");
        }
        assert_eq!(fs::read(keys.join(COPY)).unwrap(), b"key", "the old one stays");
        let linked = home.path().join("linked");
        symlink(&keys, &linked).unwrap();
        fails(copy(Some(&linked), Some("id")), "Got error");
    }

    #[test]
    fn a_link_in_place_of_the_copy_is_replaced_and_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let victim = home.path().join("victim");
        let keys = home.path().join("keys");
        fs::create_dir(&keys).unwrap();
        fs::write(&victim, "precious").unwrap();
        fs::write(keys.join("id"), "key").unwrap();
        for name in [COPY, UNFINISHED] {
            symlink(&victim, keys.join(name)).unwrap();
        }
        copy(Some(&keys), Some("id")).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(keys.join(COPY)).unwrap(), b"key");
    }

    #[test]
    fn without_a_directory_nothing_is_enabled() {
        fails(copy(None, Some("id")), NOT_ENABLED);
        fails(delete(None), NOT_ENABLED);
        fails(uri_with_key(None, "qemu+ssh://there/system").map(drop), NOT_ENABLED);
        fails(copy(Some(Path::new("/tmp")), None), "Failed to get property 'SSH_Key_Src'.");
    }

    #[test]
    fn the_key_becomes_a_parameter_of_the_uri() {
        let with = |uri| uri_with_key(Some(Path::new("/etc/my keys")), uri);
        assert_eq!(
            with("qemu+ssh://there/system").unwrap(),
            "qemu+ssh://there/system?keyfile=/etc/my%20keys/migration-key"
        );
        assert_eq!(
            with("qemu+ssh://there/system?port=1").unwrap(),
            "qemu+ssh://there/system?port=1&keyfile=/etc/my%20keys/migration-key"
        );
        assert!(with("qemu+tcp://there/system").is_err());
    }
}
