"""What a host finds in its /etc: libvirt, TLS, SSH, names."""

import shutil

LIBVIRTD = """\
host_uuid = "{uuid}"
listen_tcp = 1
listen_tls = 1
auth_tcp = "none"
auth_tls = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
keepalive_interval = {keepalive_interval}
keepalive_count = {keepalive_count}
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# The namespaces already keep the guests apart from the machine: no security
# driver, no change of owners, no mount namespace of QEMU's own, no virtlogd.
QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
keepalive_interval = {keepalive_interval}
keepalive_count = {keepalive_count}
migration_address = "0.0.0.0"
migration_host = "{name}"
default_tls_x509_cert_dir = "/etc/pki/qemu"
default_tls_x509_verify = 1
"""

POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>\n"

# A bridge that leads nowhere: enough for a guest's NIC to be plugged into.
NETWORK = """\
<network>
  <name>default</name>
  <uuid>0defa017-7e57-4bed-8000-000000000001</uuid>
  <bridge name='virbr0' stp='off' delay='0'/>
</network>
"""

SSHD = """\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
PidFile /run/sshd.pid
"""

# libvirtd runs ssh for peer-to-peer migration, and ssh does not ask $HOME.
SSH = """\
Host *
  IdentityFile /etc/ssh/user_key
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
  GlobalKnownHostsFile /etc/ssh/ssh_known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
"""


def write(etc, host, hosts, keys, shared_images, keepalive):
    """Writes the files that replace a host's /etc/libvirt, /etc/pki and so on.

    `etc` is a directory of the bed; the host's init copies it over the private
    copy of the machine's /etc.
    """
    shutil.rmtree(etc, ignore_errors=True)
    etc.mkdir(parents=True)
    _names(etc, host, hosts)
    _libvirt(etc / "libvirt", host, shared_images, keepalive)
    _pki(etc / "pki", host, keys)
    _ssh(etc / "ssh", host, hosts, keys)


def _names(etc, host, hosts):
    lines = ["127.0.0.1 localhost"] + [f"{h.address} {h.name}" for h in hosts]
    (etc / "hosts").write_text("\n".join(lines) + "\n")
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "resolv.conf").write_text("")
    names = ["hosts", "passwd", "group", "shadow"]
    (etc / "nsswitch.conf").write_text("".join(f"{name}: files\n" for name in names))


def _libvirt(directory, host, shared_images, keepalive):
    values = {
        "name": host.name,
        "uuid": host.uuid,
        "keepalive_interval": keepalive[0],
        "keepalive_count": keepalive[1],
    }
    networks = directory / "qemu" / "networks"
    pools = directory / "storage"
    for folder in (networks / "autostart", pools / "autostart", directory / "nwfilter"):
        folder.mkdir(parents=True)
    (directory / "libvirtd.conf").write_text(LIBVIRTD.format(**values))
    (directory / "qemu.conf").write_text(QEMU.format(**values))
    for name in ("libvirt", "qemu-lockd", "virtlockd", "virtlogd"):
        (directory / f"{name}.conf").touch()
    # "default" is the host's own; migration with storage copy creates disks
    # there.  Both hosts see "shared" at the same path.
    paths = {"default": "/var/lib/libvirt/images", "shared": shared_images}
    for name, path in paths.items():
        (pools / f"{name}.xml").write_text(POOL.format(name=name, path=path))
        (pools / "autostart" / f"{name}.xml").symlink_to(f"../{name}.xml")
    (networks / "default.xml").write_text(NETWORK)
    (networks / "autostart" / "default.xml").symlink_to("../default.xml")


def _pki(directory, host, keys):
    libvirt, qemu, authority = directory / "libvirt", directory / "qemu", directory / "CA"
    for folder in (libvirt / "private", qemu, authority):
        folder.mkdir(parents=True)
    certificate, key = keys / f"{host.name}.crt", keys / f"{host.name}.key"
    _install(keys / "ca.crt", authority / "cacert.pem", 0o644)
    _install(keys / "ca.crt", qemu / "ca-cert.pem", 0o644)
    for end in ("server", "client"):
        _install(certificate, libvirt / f"{end}cert.pem", 0o644)
        _install(key, libvirt / "private" / f"{end}key.pem", 0o600)
        _install(certificate, qemu / f"{end}-cert.pem", 0o644)
        _install(key, qemu / f"{end}-key.pem", 0o600)


def _ssh(directory, host, hosts, keys):
    directory.mkdir()
    (directory / "sshd_config").write_text(SSHD)
    (directory / "ssh_config").write_text(SSH)
    _install(keys / f"{host.name}.ssh", directory / "host_key", 0o600)
    _install(keys / "user.ssh", directory / "user_key", 0o600)
    _install(keys / "user.ssh.pub", directory / "authorized_keys", 0o644)
    known = [f"{h.name},{h.address} {(keys / f'{h.name}.ssh.pub').read_text()}" for h in hosts]
    (directory / "ssh_known_hosts").write_text("".join(known))


def _install(source, target, mode):
    shutil.copyfile(source, target)
    target.chmod(mode)
