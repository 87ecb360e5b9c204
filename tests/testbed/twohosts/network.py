"""The link between the two hosts: made, cut, slowed, repaired."""

# Nobody has this address: frames sent to it are lost without a word.
NOBODY = "02:00:0a:4d:00:99"


def make(a, b):
    """One veth pair, made inside the two hosts and never visible outside."""
    if a.run("ip", "link", "show", "eth0", check=False).returncode != 0:
        # Only a's network namespace, so that b's process number is the machine's.
        peer = ["peer", "name", "eth0", "address", b.mac, "netns", str(b.init.pid())]
        a.run("ip", "link", "add", "eth0", "address", a.mac, "type", "veth", *peer, namespaces=["net"])
    for host in (a, b):
        host.run("ip", "address", "replace", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")


def cut(a, b):
    """A pulled plug: both ends see that the carrier is gone."""
    for host in (a, b):
        host.run("ip", "link", "set", "eth0", "down")


def blackhole(a, b):
    """A dead switch: the carrier stays and every frame is lost."""
    for host, peer in ((a, b), (b, a)):
        host.run("ip", "neigh", "replace", peer.address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")


def rate(a, b, limit):
    """At most `limit` (20mbit) in each direction."""
    for host in (a, b):
        host.run(*"tc qdisc replace dev eth0 root tbf burst 64kb latency 200ms rate".split(), limit)


def restore(a, b):
    """As it was when the bed came up."""
    for host, peer in ((a, b), (b, a)):
        host.run("ip", "link", "set", "eth0", "up")
        host.run("tc", "qdisc", "delete", "dev", "eth0", "root", check=False)
        host.run("ip", "neigh", "delete", peer.address, "dev", "eth0", check=False)


def state(a):
    """What the link does now, in a word or two."""
    if "state UP" not in a.run("ip", "-o", "link", "show", "eth0").stdout:
        return "cut"
    if NOBODY in a.run("ip", "neigh", "show", "dev", "eth0").stdout:
        return "blackhole"
    queue = a.run("tc", "qdisc", "show", "dev", "eth0").stdout.split()
    return f"rate {queue[queue.index('rate') + 1]}" if "rate" in queue else "up"
