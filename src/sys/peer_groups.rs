//! The groups of the process at the other end of a unix socket.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::unistd::Gid;

/// What most processes have at most.
const ROOM: usize = 32;

/// The supplementary groups of the process at the other end of a connected unix socket, as they were when it
/// connected (SO_PEERGROUPS of unix(7), Linux 4.13). Its own group is among them only if it set it so.
///
/// # Errors
/// If the kernel does not tell.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<Gid>> {
    let mut groups: Vec<libc::gid_t> = vec![0; ROOM];
    loop {
        let room = size_of_val(&*groups);
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        let told = ask(socket.as_fd().as_raw_fd(), &mut groups, &mut length);
        // Where there is too little room, the length says how much is needed.
        let count = length as usize / size_of::<libc::gid_t>();
        match told {
            Ok(()) => {
                groups.truncate(count);
                return Ok(groups.into_iter().map(Gid::from_raw).collect());
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[expect(unsafe_code, reason = "nix has no such option")]
fn ask(
    socket: libc::c_int,
    groups: &mut [libc::gid_t],
    length: &mut libc::socklen_t,
) -> io::Result<()> {
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
    // SAFETY: the kernel writes at most `length` bytes into `groups`, which has as many, and any bits are a
    // group id.
    match unsafe { libc::getsockopt(socket, level, option, groups.as_mut_ptr().cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_are_those_of_the_other_process() {
        let (ours, _theirs) = UnixStream::pair().expect("sockets");
        assert_eq!(peer_groups(&ours).expect("they are told"), nix::unistd::getgroups().unwrap());
        let network = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(peer_groups(&network).is_err());
    }
}
