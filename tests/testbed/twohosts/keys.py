"""Certificates for libvirt's and QEMU's TLS, and SSH keys: made once per bed."""

import shutil
import subprocess

EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:{name},IP:{address}
"""


def make(directory, hosts):
    """Fills `directory` unless a finished set is there already.

    One certificate per host serves both ends of a connection; one SSH key
    opens both hosts.
    """
    done = directory / "complete"
    if done.exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    _openssl(
        directory,
        *"req -x509 -nodes -days 3650 -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(),
        *"-keyout ca.key -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign".split(),
        *["-subj", "/CN=two-host testbed"],
    )
    for host in hosts:
        _certificate(directory, host)
        _ssh_key(directory, f"{host.name}.ssh")
    _ssh_key(directory, "user.ssh")
    done.touch()


def _certificate(directory, host):
    extensions = directory / f"{host.name}.ext"
    extensions.write_text(EXTENSIONS.format(name=host.name, address=host.address))
    _openssl(
        directory,
        *"req -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(),
        *f"-keyout {host.name}.key -out {host.name}.csr".split(),
        *["-subj", f"/CN={host.name}"],
    )
    _openssl(
        directory,
        *"x509 -req -days 3650 -CA ca.crt -CAkey ca.key -CAcreateserial".split(),
        *f"-in {host.name}.csr -out {host.name}.crt -extfile {extensions.name}".split(),
    )


def _openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _ssh_key(directory, name):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name],
        cwd=directory,
        check=True,
    )
