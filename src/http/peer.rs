//! Who is at the other end of a connection, as far as the network and the kernel tell.

use std::{
    collections::BTreeMap,
    ffi::CString,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::unix::UCred;

use super::AuthOptions;
use crate::ops::{Principal, Role};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// `address:port` or `unix:PID`, for logs and audit records.
    pub(super) name: String,
    /// Whose connections and failures count together.
    pub(super) origin: Origin,
    /// Who it is, if that is known without asking.
    pub(super) identity: Option<Principal>,
}

/// Whose connections and failed logins count together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Origin {
    /// An IPv4 address, or the /64 an IPv6 host picks its addresses from; larger networks are counted in
    /// `places.rs`.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Peer {
    /// A network peer.
    pub(super) fn network(address: SocketAddr) -> Self {
        let ip = match address.ip().to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))
            }
            ip => ip,
        };
        Self { name: address.to_string(), origin: Origin::Network(ip), identity: None }
    }

    /// The peer of a unix socket, a process with these credentials and `groups`. Without the latter its
    /// user's are looked up. Looks groups' names up, which may block.
    pub(super) fn unix(
        credentials: &UCred,
        groups: Option<Vec<Gid>>,
        options: &AuthOptions,
    ) -> Self {
        let name = match credentials.pid() {
            Some(pid) => format!("unix:{pid}"),
            None => format!("unix:uid={}", credentials.uid()),
        };
        let role = role_of_process(credentials, groups, options);
        let identity =
            role.map(|role| Principal { name: format!("uid:{}", credentials.uid()), role });
        Self { name, origin: Origin::User(credentials.uid()), identity }
    }

    /// Its address without the port, for others' logs and rules; `localhost` on this machine.
    #[cfg(feature = "pam")]
    pub(super) fn host(&self) -> &str {
        match self.origin {
            Origin::Network(ip) if !ip.is_loopback() => {
                let host = self.name.rsplit_once(':').map_or(&*self.name, |(host, _)| host);
                host.trim_matches(['[', ']'])
            }
            Origin::Network(_) | Origin::User(_) => "localhost",
        }
    }

    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self.origin {
            Origin::Network(ip) => ip.is_loopback(),
            Origin::User(_) => true,
        }
    }
}

/// Root and the user we run as could do with us what they want anyway; others need a group.
fn role_of_process(
    credentials: &UCred,
    groups: Option<Vec<Gid>>,
    options: &AuthOptions,
) -> Option<Role> {
    let uid = Uid::from_raw(credentials.uid());
    if uid.is_root() || uid == Uid::effective() {
        return Some(Role::Admin);
    }
    // What a process is in counts, as for the kernel: a service may have been given a group, or given up
    // those of its user.
    let mut groups =
        groups.or_else(|| User::from_uid(uid).ok()?.map(groups_of)).unwrap_or_default();
    groups.push(Gid::from_raw(credentials.gid()));
    highest(&groups, &options.groups)
}

/// The role of the user of that name on this machine. Looks their groups up, which may block.
#[cfg(feature = "pam")]
pub(super) fn role_of_name(name: &str, roles: &BTreeMap<String, Role>) -> Option<Role> {
    let user = User::from_name(name).ok().flatten()?;
    highest(&groups_of(user), roles)
}

fn groups_of(user: User) -> Vec<Gid> {
    let name = CString::new(user.name).ok();
    let groups = name.and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok());
    groups.unwrap_or_default()
}

/// The highest role that one of the groups has, where roles go by groups' names.
fn highest(groups: &[Gid], roles: &BTreeMap<String, Role>) -> Option<Role> {
    let roles = roles.iter().filter_map(|(name, role)| {
        let group = Group::from_name(name).ok().flatten()?;
        groups.contains(&group.gid).then_some(*role)
    });
    roles.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_one_origin_whatever_address_it_picks() {
        let origin = |text: &str| Peer::network(text.parse().unwrap()).origin;
        assert_eq!(origin("[2001:db8::1]:1"), origin("[2001:db8::ffff:2]:2"));
        assert_ne!(origin("[2001:db8::1]:1"), origin("[2001:db8:0:1::1]:1"));
        assert_eq!(origin("[::ffff:192.0.2.1]:1"), origin("192.0.2.1:2"));
        assert_ne!(origin("192.0.2.1:1"), origin("192.0.2.2:1"));
    }

    #[cfg(feature = "pam")]
    #[test]
    fn an_address_has_no_port() {
        let host = |text: &str| Peer::network(text.parse().unwrap()).host().to_owned();
        assert_eq!(host("192.0.2.1:1"), "192.0.2.1");
        assert_eq!(host("[2001:db8::1]:1"), "2001:db8::1");
        assert_eq!(host("127.0.0.1:1"), "localhost");
    }

    #[test]
    fn loopback_is_local_and_nothing_else_is() {
        let local = |text: &str| Peer::network(text.parse().unwrap()).is_local();
        assert!(local("127.0.0.1:1") && local("127.8.8.8:1") && local("[::1]:1"));
        assert!(local("[::ffff:127.0.0.1]:1"));
        assert!(!local("192.0.2.1:1") && !local("[fe80::1]:1") && !local("[::2]:1"));
    }
}
