"""virtcimctl with a person at a terminal."""

import os
import pty
import select
import subprocess
import time
from contextlib import contextmanager

import harness
import pytest

CTRL_C = "\x03"
TIMEOUT = 'timeout = "5s"'


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command):
        self.keyboard, inside = pty.openpty()
        self.seen = ""
        # A session of its own, whose terminal this is: the keys' signals go to it.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *map(str, command)], stdin=inside, stdout=inside, stderr=inside
        )
        os.close(inside)

    def type(self, keys):
        os.write(self.keyboard, keys.encode())

    def _read(self, patience):
        """False once the program and its terminal are gone."""
        ready, _, _ = select.select([self.keyboard], [], [], patience)
        if not ready:
            return True
        try:
            self.seen += os.read(self.keyboard, 65536).decode()
        except OSError:
            return False
        return True

    def expect(self, text):
        """Waits until it shows the text, and forgets what it showed up to there."""
        deadline = time.monotonic() + harness.PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline and self._read(1), f"no {text!r} in {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self):
        """Waits until the program has ended; its exit status and what it showed last."""
        deadline = time.monotonic() + harness.PATIENCE
        while self._read(1):
            assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
        return self.process.wait(harness.PATIENCE), self.seen

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.keyboard)


@pytest.fixture
def daemon(start_daemon, config):
    """One whose checks may take their time."""
    assert TIMEOUT in config
    return start_daemon(config.replace(TIMEOUT, 'timeout = "100s"'))


@pytest.fixture
def held(checks, tmp_path):
    """A check that holds every job; called, it lets them go, and refuses them."""
    checks.clear()
    go = tmp_path / "go"
    checks.add("10-hold", f"while [ ! -e {go} ]; do sleep 0.05; done; echo 'no way'; exit 1")
    yield go.touch
    go.touch()
    checks.clear()


@contextmanager
def ctl(daemon, *arguments):
    terminal = Terminal(harness.program("virtcimctl"), "--url", daemon.url, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def job_of(connection, text):
    (path,) = [job for job in connection.EnumerateInstanceNames("KVM_MigrationJob") if job["InstanceID"] in text]
    return path


def migrate(daemon):
    return ctl(daemon, "migrate", "web", "other", "--transport", "tcp")


def test_a_bar_until_the_end(daemon, held):
    with migrate(daemon) as terminal:
        terminal.expect("web migrates to other: job ")
        terminal.expect("[------------------------]   1 %  Checking")
        held()
        terminal.expect("Migration failed after")
        status, shown = terminal.end()
    assert status == 1
    assert "no way" in shown


@pytest.mark.parametrize("answer", ["a", "abort", "A"])
def test_ctrl_c_and_abort(daemon, connection, held, answer):
    with migrate(daemon) as terminal:
        terminal.expect("job ")
        path = job_of(connection, terminal.expect("[---"))
        terminal.type(CTRL_C)
        terminal.expect("Abort the migration (a), or leave it running and stop watching (Enter)? ")
        assert connection.GetInstance(path)["JobState"] == 4
        terminal.type(f"{answer}\n")
        terminal.expect("Migration cancelled")
        status, _ = terminal.end()
    assert status == 1
    assert connection.GetInstance(path)["JobState"] == 8


@pytest.mark.parametrize("answer", ["\n", "what\n", CTRL_C], ids=["enter", "nonsense", "ctrl-c"])
def test_ctrl_c_and_leave(daemon, connection, held, answer):
    with migrate(daemon) as terminal:
        terminal.expect("job ")
        path = job_of(connection, terminal.expect("[---"))
        terminal.type(CTRL_C)
        terminal.expect("(Enter)? ")
        terminal.type(answer)
        terminal.expect(f"The migration goes on; `virtcimctl watch {path['InstanceID']}` shows it again.")
        status, _ = terminal.end()
    assert status == 1
    assert connection.GetInstance(path)["JobState"] == 4
    with ctl(daemon, "watch", path["InstanceID"][:8]) as terminal:
        terminal.expect("[---")
        held()
        terminal.expect("Migration failed")
        terminal.end()


def test_ctrl_c_where_nobody_can_be_asked(daemon, connection, held):
    command = [harness.program("virtcimctl"), "--url", daemon.url, "migrate", "web", "other", "--transport", "tcp"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        path = job_of(connection, process.stdout.readline())
        assert "%" in process.stdout.readline()
        process.send_signal(2)
        _, said = process.communicate(timeout=harness.PATIENCE)
    assert process.returncode == 1
    assert "The migration goes on" in said
    assert connection.GetInstance(path)["JobState"] == 4


def test_an_abort_that_comes_too_late(daemon, connection, held):
    """The server's no is shown, and then what became of the job."""
    with migrate(daemon) as terminal:
        terminal.expect("job ")
        path = job_of(connection, terminal.expect("[---"))
        terminal.type(CTRL_C)
        terminal.expect("(Enter)? ")
        held()
        deadline = time.monotonic() + harness.PATIENCE
        while connection.GetInstance(path)["JobState"] == 4:
            assert time.monotonic() < deadline
        terminal.type("a\n")
        terminal.expect("virtcimctl: ")
        terminal.expect("Migration failed after")
        status, shown = terminal.end()
    assert (status, "no way" in shown) == (1, True)


def test_a_server_that_is_restarted_meanwhile(daemon, connection, held):
    """It finds its job again, and so does who follows it."""
    with migrate(daemon) as terminal:
        terminal.expect("job ")
        terminal.expect("[---")
        daemon.stop()
        terminal.expect("; trying again")
        daemon.start()
        held()
        terminal.expect("Migration failed after")
        status, _ = terminal.end()
    assert status == 1
