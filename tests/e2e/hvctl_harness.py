# SPDX-License-Identifier: MIT
"""A private daemon and hvctl, for the end-to-end tests."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("HVD_BUILD", "build/release")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HVD = os.path.join(BUILD, "hvd", "hvd")
HVCTL = os.path.join(BUILD, "hvctl", "hvctl")
# sanitizers slow a daemon down; nothing here measures time
PATIENCE_S = float(os.environ.get("HVD_TEST_PATIENCE_S", "120"))

MAILBOX = 0x300000
ACK, ARG, RESULT, MAILBOX_TEXT = MAILBOX + 4, MAILBOX + 16, MAILBOX + 32, MAILBOX + 48
TEXT = 0x400000
STOP = 0x504F5453


def guest(name):
    return os.path.join(BUILD, "guests", name)


class Daemon:
    """hvd on a socket in a directory of its own; gone with it at the end."""

    def __init__(self, *options):
        self.options = options
        self.dir = None
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            if self.process:
                self.process.kill()
                self.process.wait()
            self.log.close()
            shutil.rmtree(self.dir)
            raise
        return self

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="hvd-test-")
        self.socket = os.path.join(self.dir, "hvd.sock")
        self.log = open(os.path.join(self.dir, "log"), "w+b")
        self.process = subprocess.Popen(
            [HVD, "--socket", self.socket, "--engine", "soft", *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + PATIENCE_S
        while self.run("info")[0] != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("hvd did not start:\n" + self.log_text())
            time.sleep(0.02)

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "nothing: it had to be killed"
        left = os.path.exists(self.socket)
        text = self.log_text()
        self.log.close()
        shutil.rmtree(self.dir)
        if kind is None and status != 0:
            raise AssertionError(f"hvd ended with {status}:\n{text}")
        if kind is None and left:
            raise AssertionError("hvd left its socket behind")
        if kind is not None:
            sys.stderr.write("the daemon said:\n" + text)

    def log_text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def run(self, *words, text=True, env=None, stdin=None):
        """(exit code, standard output, standard error) of one hvctl."""
        r = subprocess.run([HVCTL, "--socket", self.socket, *[str(w) for w in words]],
                           **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
                           capture_output=True, text=text,
                           timeout=PATIENCE_S, env={**os.environ, **(env or {})})
        return r.returncode, r.stdout, r.stderr

    def ok(self, *words, text=True, stdin=None):
        """Standard output of one hvctl that must succeed."""
        code, out, err = self.run(*words, text=text, stdin=stdin)
        if code != 0:
            raise AssertionError(f"hvctl {' '.join(map(str, words))}: {code}: {err}")
        return out

    def json(self, *words):
        return json.loads(self.ok("--json", *words))

    # --- guests that listen to the mailbox ---

    def word(self, vm, value):
        self.ok("write", vm, "--gpa", hex(MAILBOX), "--hex", value.to_bytes(4, "little").hex())

    def number(self, vm, gpa, size):
        raw = self.ok("read", vm, "--gpa", hex(gpa), "--size", size, "--raw", text=False)
        return int.from_bytes(raw, "little")

    def wait_ack(self, vm, value):
        deadline = time.monotonic() + PATIENCE_S
        while self.number(vm, ACK, 4) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{vm} does not answer; console:\n{self.ok('console', vm)}")
            time.sleep(0.002)

    def ask(self, vm, value):
        self.word(vm, value)
        self.wait_ack(vm, value)

    def wait_console(self, vm, text, offset=0):
        """Waits until the VM has printed text; the offset behind it."""
        r = self.json("wait", vm, "--until", "console", "--text", text, "--offset", offset,
                      "--timeout", int(PATIENCE_S * 1000))
        return r["next_offset"]

    def wait_end(self, vm):
        return self.json("wait", vm, "--timeout", int(PATIENCE_S * 1000))

    def retire(self, vm):
        self.run("stop", vm)
        self.ok("delete", vm)


def main():
    unittest.main(verbosity=2)


__all__ = ["ACK", "ARG", "BUILD", "Daemon", "HVCTL", "HVD", "MAILBOX", "MAILBOX_TEXT", "PATIENCE_S",
           "RESULT", "SOURCE", "STOP", "TEXT", "guest", "json", "main", "os", "re", "subprocess",
           "tempfile", "time", "unittest"]
