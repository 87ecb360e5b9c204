"""Two libvirt hosts, `hosta` and `hostb`, on one machine.

Each host is a libvirtd (and an sshd) in namespaces of its own: mount, network,
UTS, IPC and PID.  One veth pair joins the two.

        the machine                       STATE (TESTBED_DIR)
        -----------                       -------------------
    hosta 10.77.0.1  === veth ===  hostb 10.77.0.2
      init (PID 1)                   init (PID 1)
      libvirtd, QEMU, sshd           libvirtd, QEMU, sshd
      /run -> STATE/hosta/run        /run -> STATE/hostb/run
      ...                            ...

Nothing exists outside the namespaces but the state directory: the machine's own
libvirtd, network, /run and /etc are never touched.  A host ends when its init is
killed, because the kernel then ends every process of its PID namespace; mounts
and interfaces go with the last of them.  So nothing is left behind, even by a
test that was killed.

The libvirt sockets lie in the state directory and are usable from outside, so a
program under test may drive both hosts without entering a namespace, or be
started inside one (`testbed run hosta PROGRAM`) to see what a host sees.

    bed.py      the pair: up, down, status, lock, what a machine must have
    host.py     one host: its namespaces and daemons
    init.sh     the first process of a host: mounts, then reaps
    settings.py the files a host finds in /etc
    keys.py     certificates and SSH keys
    network.py  the link between the two: cut, black hole, rate
    guest.py    guests: definitions, the tick program (tick.S), what it printed
    selftest.py shows that all of it works, migrations included
    cli.py      the command line
"""
