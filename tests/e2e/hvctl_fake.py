# SPDX-License-Identifier: MIT
"""A daemon that says what a test wants it to, and a terminal to watch hvctl on."""
import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

from hvctl_harness import HVCTL, PATIENCE_S


class Refused(Exception):
    """An error for a reply."""

    def __init__(self, kind, message, code=-32000):
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": {"kind": kind}}


class Connection:
    """What the daemon sees of one hvctl."""

    def __init__(self, sock):
        self.sock = sock
        self.requests = []  # (method, params), in order
        self.lock = threading.Lock()

    def send(self, message):
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendall(json.dumps({"jsonrpc": "2.0", **message},
                                         separators=(",", ":")).encode() + b"\n")

    def notify(self, method, **params):
        self.send({"method": method, "params": params})

    def reply(self, number, result):
        self.send({"id": number, "result": result})

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class FakeDaemon:
    """
    methods: name -> function(connection, params, id) that returns the result, raises
    Refused, or returns LATER and replies itself.
    """

    LATER = object()

    def __init__(self, **methods):
        self.methods = {name.replace("_", ".", 1) if "." not in name else name: f
                        for name, f in methods.items()}
        self.connections = []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="hvctl-fake-")
        self.socket = os.path.join(self.dir, "hvd.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen(8)
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for c in self.connections:
            c.close()
        for t in self.threads:
            t.join(PATIENCE_S)
        for c in self.connections:
            c.sock.close()
        shutil.rmtree(self.dir)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            c = Connection(sock)
            self.connections.append(c)
            self.threads.append(threading.Thread(target=self.serve, args=(c,), daemon=True))
            self.threads[-1].start()

    def serve(self, c):
        with contextlib.suppress(OSError), c.sock.makefile("rb") as lines:
            for line in lines:
                self.answer(c, json.loads(line))

    def answer(self, c, request):
        method, params = request["method"], request.get("params", {})
        c.requests.append((method, params))
        try:
            if method not in self.methods:
                raise Refused("unknown-method", f"no method {method}", -32601)
            result = self.methods[method](c, params, request["id"])
            if result is not self.LATER:
                c.reply(request["id"], result)
        except Refused as r:
            c.send({"id": request["id"], "error": r.error})

    # --- what hvctl does with it ---

    def command(self, *words):
        return [HVCTL, "--socket", self.socket, *[str(w) for w in words]]

    def run(self, *words, data=None, env=None):
        """(exit code, standard output, standard error), all as bytes."""
        r = subprocess.run(self.command(*words), input=data, capture_output=True,
                           stdin=subprocess.DEVNULL if data is None else None,
                           timeout=PATIENCE_S, env={**os.environ, **(env or {})})
        return r.returncode, r.stdout, r.stderr

    def start(self, *words, **more):
        return subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


class Terminal:
    """A process on a terminal of its own, which it controls: Ctrl-C works."""

    def __init__(self, command, rows=40, columns=100, env=None, **streams):
        self.main, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(far)
        self.far = far  # stays open: its settings are looked at after the end
        self.seen = b""

        def take_terminal():
            os.setsid()
            fcntl.ioctl(far, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=streams.get("stdin", far), stdout=streams.get("stdout", far),
            stderr=streams.get("stderr", far), preexec_fn=take_terminal,
            env={**os.environ, "TERM": "xterm", **(env or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self.far)
        os.close(self.main)

    def type(self, data):
        os.write(self.main, data)

    def read(self, seconds):
        """Adds what comes within the time to seen; False if nothing did."""
        if not select.select([self.main], [], [], seconds)[0]:
            return False
        self.seen += os.read(self.main, 65536)
        return True

    def expect(self, data, start=0):
        """Waits until data has been seen from start on; the offset behind it."""
        deadline = time.monotonic() + PATIENCE_S
        while (at := self.seen.find(data, start)) < 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"{data!r} never came; seen: {self.seen!r}")
            self.read(0.2)
        return at + len(data)

    def wait(self):
        """The exit status; all that was printed is in seen."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; seen: {self.seen!r}")
            self.read(0.05)
        while self.read(0):
            pass
        return self.process.returncode

    def is_raw(self):
        return not termios.tcgetattr(self.far)[3] & termios.ICANON

    def wait_raw(self):
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_raw():
            if time.monotonic() > deadline:
                raise AssertionError("the terminal does not become raw")
            time.sleep(0.01)

    def restored(self):
        """Its settings are what they were."""
        return termios.tcgetattr(self.far) == self.before


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.005)


__all__ = ["FakeDaemon", "Refused", "Terminal", "signal", "wait_until"]
