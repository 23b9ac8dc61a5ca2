# SPDX-License-Identifier: MIT
"""What systemd does with hvd: the socket it hands over, status, watchdog, and the units."""
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from daemon_client import BUILD, FLAT_SPIN, HVD, PATIENCE_S, Client

# As systemd does between fork() and execve(): descriptors from 3 on, and the daemon's own
# number, which only what becomes the daemon knows.
HAND_OVER = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i, inheritable=True)
    os.set_inheritable(3 + i, True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Notified:
    """A daemon that tells a socket of ours what it tells systemd."""

    def __init__(self, *options, env=None, listen=()):
        self.folder = tempfile.mkdtemp(prefix="hvd-test-")
        self.path = os.path.join(self.folder, "hvd.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(self.folder, "notify"))
        self.socket.settimeout(PATIENCE_S)
        self.log = open(os.path.join(self.folder, "log"), "w+b")
        words = [HVD, "--engine", "soft", *options]
        env = {**os.environ, "NOTIFY_SOCKET": os.path.join(self.folder, "notify"), **(env or {})}
        if listen:
            words = [sys.executable, "-c", HAND_OVER, ",".join(map(str, listen)), *words,
                     "--config", os.devnull]
        else:
            words += ["--socket", self.path]
        self.process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, pass_fds=listen)

    def next(self, wanted):
        """The next message with that line; all its lines as a dictionary."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and \
                select.select([self.socket], [], [], self.socket.gettimeout())[0]:
            lines = self.socket.recv(4096).decode().splitlines()
            said = dict(line.split("=", 1) for line in lines)
            if wanted in lines or wanted in said:
                return said
        raise AssertionError(f"{wanted} does not come:\n{self.log_text()}")

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.end()
        if kind:
            sys.stderr.write("the daemon said:\n" + self.log_text())
        self.socket.close()
        self.log.close()
        shutil.rmtree(self.folder)


def listener(path, kind=socket.SOCK_STREAM, backlog=128):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(path)
    if backlog:
        s.listen(backlog)
    return s


class Notify(unittest.TestCase):
    def test_status(self):
        with Notified() as d:
            self.assertEqual(d.next("READY=1")["STATUS"], "Engine soft; 0 VMs, 0 clients")
            with Client(d.path) as c:
                c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20)
                self.assertEqual(d.next("STATUS")["STATUS"], "Engine soft; 1 VMs, 1 clients")
            self.assertEqual(d.next("STATUS")["STATUS"], "Engine soft; 1 VMs, 0 clients")
            self.assertEqual(d.end(), 0)
            d.next("STOPPING=1")

    def test_reload(self):
        with Notified() as d:
            d.next("READY=1")
            d.process.send_signal(signal.SIGHUP)
            self.assertGreater(int(d.next("RELOADING=1")["MONOTONIC_USEC"]), 0)
            d.next("READY=1")

    def test_watchdog(self):
        with Notified(env={"WATCHDOG_USEC": "200000"}) as d:
            d.next("READY=1")
            for _ in range(5):
                d.next("WATCHDOG=1")
            d.process.send_signal(signal.SIGSTOP)  # a daemon that hangs says nothing
            d.socket.settimeout(1)
            with self.assertRaises(TimeoutError):
                for _ in range(50):
                    d.socket.recv(4096)
            d.process.send_signal(signal.SIGCONT)
            d.socket.settimeout(PATIENCE_S)
            d.next("WATCHDOG=1")

    def test_no_watchdog(self):
        """Not asked for, or for another process: not served."""
        for env in {}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}:
            with Notified(env=env) as d:
                d.next("READY=1")
                d.socket.settimeout(0.5)
                with self.assertRaises(TimeoutError):
                    while b"WATCHDOG" not in d.socket.recv(4096):
                        pass


class Activation(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "hvd.sock")

    def tearDown(self):
        self.folder.cleanup()

    def test_socket(self):
        with listener(self.path) as s:
            early = Client(self.path)  # waits for the daemon in the socket's queue
            os.chmod(self.path, 0o606)
            with Notified("--access", "private", listen=[s.fileno()]) as d:
                self.assertEqual(early.call("daemon.info")["socket"], self.path)
                early.close()
                d.next("READY=1")
                self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o606)
                self.assertEqual(d.end(), 0)
            # it is systemd's: another daemon may follow
            self.assertTrue(stat.S_ISSOCK(os.stat(self.path).st_mode))
            late = Client(self.path)
            with Notified("--access", "private", listen=[s.fileno()]):
                self.assertEqual(late.call("vm.list")["vms"], [])
            late.close()

    def test_a_closed_client_does_not_block(self):
        """The descriptor came blocking; the loop must not hang in accept()."""
        with listener(self.path) as s:
            s.setblocking(True)
            Client(self.path).close()
            with Notified("--access", "private", listen=[s.fileno()]) as d:
                d.next("READY=1")
                for _ in range(20):
                    Client(self.path).close()
                with Client(self.path) as c:
                    c.call("vm.list")

    def test_wrong_descriptors(self):
        with listener(self.path) as s, \
                listener(self.path + "2", socket.SOCK_DGRAM, 0) as datagrams, \
                listener(self.path + "3", backlog=0) as deaf, open(os.devnull, "rb") as null:
            for what in [null], [datagrams], [deaf], [s, s]:
                with self.subTest(what=what), \
                        Notified(listen=[f.fileno() for f in what]) as d:
                    self.assertEqual(d.process.wait(PATIENCE_S), 1)
                    self.assertIn("systemd handed over", d.log_text())


@unittest.skipUnless(shutil.which("systemd-analyze"), "needs systemd-analyze")
class Units(unittest.TestCase):
    def test_verify(self):
        """As installed: in a root folder of its own, so that only what we say is there."""
        with tempfile.TemporaryDirectory() as root:
            env = {**os.environ, "DESTDIR": root}
            r = subprocess.run(["cmake", "--install", BUILD, "--component", "hvd"], env=env,
                               capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertEqual(r.returncode, 0, r.stderr)
            units = [os.path.join(folder, name) for folder, _, names in os.walk(root)
                     for name in names if name.endswith((".service", ".socket"))]
            self.assertEqual(sorted(os.path.basename(u) for u in units),
                             ["hvd.service", "hvd.socket"])
            daemon = None
            for folder, _, names in os.walk(root):
                daemon = os.path.join(folder, "hvd") if "hvd" in names and \
                    folder.endswith("sbin") else daemon
            # systemd-analyze looks for the program at its final place, which is empty
            for unit in units:
                with open(unit, encoding="utf-8") as f:
                    text = f.read()
                installed = daemon[len(root):]
                with open(unit, "w", encoding="utf-8") as f:
                    f.write(text.replace(installed, daemon))
                if unit.endswith(".service"):
                    self.assertIn(installed, text)
            r = subprocess.run(["systemd-analyze", "verify", "--man=no", *units],
                               capture_output=True, text=True, timeout=PATIENCE_S)
            ours = [line for line in r.stderr.splitlines() if "hvd" in line]
            self.assertEqual(ours, [], r.stderr)
            self.assertEqual(r.returncode, 0, r.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
