# SPDX-License-Identifier: MIT
"""64 clients at once: good ones, slow ones, broken ones, subscribers and cancellers.

The good ones get every reply, right and in order; the others are served, refused or dropped,
and leave nothing behind.
"""
import base64
import json
import os
import random
import socket
import threading
import time
import unittest

from daemon_client import (FLAT_SPIN, PATIENCE_S, Client, Daemon, MemFile, flat_printer)

SECONDS = float(os.environ.get("HVD_TEST_CROWD_S", "6"))
PAGE = 4096


def line(method, number, **params):
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(request).encode() + b"\n"


class Guest:
    """One client's thread. Its kind's round() is repeated until the time is over."""

    def __init__(self, daemon, number):
        self.daemon = daemon
        self.number = number
        self.random = random.Random(number)
        self.rounds = 0
        self.failure = None
        self.deadline = 0.0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while time.monotonic() < self.deadline or not self.rounds:
                try:
                    c = Client(self.daemon.path)
                except BlockingIOError:  # the socket's queue is full
                    time.sleep(0.01)
                    continue
                with c:
                    self.round(c)
                self.rounds += 1
        except Exception as e:  # told by the main thread
            self.failure = f"{type(self).__name__} {self.number}, round {self.rounds}: {e!r}"


class Good(Guest):
    """Pipelines of what it can foretell: of its own page, errors, batches, notifications."""

    def make(self, number):
        gpa = hex(0x100000 + self.number * PAGE)
        kind = self.random.randrange(6)
        if kind == 0:
            self.data = self.random.randbytes(self.random.randrange(1, PAGE))
            text = base64.b64encode(self.data).decode()
            return (line("memory.write", number, vm="idle", gpa=gpa, data=text),
                    lambda r: "result" in r)
        if kind == 1:
            data = base64.b64encode(self.data).decode()
            return (line("memory.read", number, vm="idle", gpa=gpa, size_bytes=len(self.data)),
                    lambda r: r["result"]["data"] == data)
        if kind == 2:
            return (line("vm.get", number, vm="spin"),
                    lambda r: r["result"]["vm"] == "spin"
                    and r["result"]["state"]["name"] == "running")
        if kind == 3:
            return (line("vm.get", number, vm="nobody"),
                    lambda r: r["error"]["data"]["kind"] == "not-found")
        if kind == 4:
            return (line("vm.list", number),
                    lambda r: [vm["vm"] for vm in r["result"]["vms"]] == ["idle", "print", "spin"])
        return (b'{"jsonrpc":"2.0","method":"vm.list"}\n' + line("daemon.info", number),
                lambda r: r["result"]["vms"] == 3)

    def round(self, c):
        self.data = bytes(8)
        c.call("memory.write", vm="idle", gpa=hex(0x100000 + self.number * PAGE),
               data=base64.b64encode(self.data).decode())
        for _ in range(4):
            made = [self.make(n) for n in range(1000, 1000 + self.random.randrange(1, 40))]
            text = b"".join(m[0] for m in made)
            while text:
                cut = self.random.randrange(1, len(text) + 1)
                c.send(text[:cut])
                text = text[cut:]
            for n, (request, right) in enumerate(made):
                reply = c.reply()
                if reply["id"] != 1000 + n or not right(reply):
                    raise AssertionError(f"{request!r} got {reply!r}")
        batch = [json.loads(line("vm.get", n, vm="idle")) for n in range(20)]
        c.send(json.dumps(batch).encode() + b"\n")
        reply = c.reply()
        if [r["id"] for r in reply] != list(range(20)) or \
                any(r["result"]["vm"] != "idle" for r in reply):
            raise AssertionError(f"a batch got {reply!r}")


class Canceller(Guest):
    """Waits that are cancelled, some while they wait to be begun."""

    def round(self, c):
        n = self.random.randrange(1, 10)
        for i in range(n):
            c.send(line("vm.wait", f"w{i}", vm="idle", until="running"))
        c.send(b"".join(line("request.cancel", i, id=f"w{i}") for i in range(n)))
        found, cancelled = 0, []
        while len(cancelled) < n or found < n:
            reply = c.reply()
            if isinstance(reply["id"], int):
                assert reply["result"]["found"], reply
                found += 1
            else:
                assert reply["error"]["data"]["kind"] == "cancelled", reply
                cancelled.append(reply["id"])
        assert sorted(cancelled) == [f"w{i}" for i in range(n)], cancelled


class Subscriber(Guest):
    """Events without holes, and counters at an interval; every other one reads too little."""

    def round(self, c):
        c.send(line("events.subscribe", 1) + line("stats.subscribe", 2, interval_ms=100))
        answered, last, end = 0, None, time.monotonic() + self.random.uniform(0.1, 0.8)
        while time.monotonic() < end or answered < 2:
            message = c.reply()
            if "id" in message:
                assert "result" in message and message["id"] == answered + 1, message
                answered += 1
                continue
            params = message["params"]
            if message["method"] == "event":
                assert last is None or params["seq"] == last + 1, (last, message)
                last = params["seq"]
            elif message["method"] == "gap":
                last = params["next_seq"] - 1
            if self.number % 2:
                time.sleep(0.02)
        c.send(line("subscription.end", 3, subscription=1))


class Slow(Guest):
    """Asks for much and reads nothing, until it is dropped."""

    def round(self, c):
        request = line("memory.read", 1, vm="idle", gpa="0x0", size_bytes=1 << 20)
        try:
            for _ in range(200):
                c.send(request)
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            return
        time.sleep(2)


class Half(Guest):
    """Goes in the middle of a line, or of a message with descriptors."""

    def round(self, c):
        text = line("vm.get", 1, vm="spin") * 3
        with MemFile(b"x") as fd:
            c.send(text[:self.random.randrange(1, len(text))], [fd] * self.random.randrange(3))
        if self.random.randrange(2):
            time.sleep(self.random.uniform(0, 0.02))


class Nonsense(Guest):
    """Lines that are no requests: each gets its error."""

    LINES = [b"\x00\xff", b"[", b"{}", b"null", b'{"jsonrpc":"2.0","id":1,"method":"x"}',
             b'"' + b"a" * 5000 + b'"', b"[" * 100, b'{"a":1,"a":2}', b"[1,2]", b"1e999"]

    def round(self, c):
        n = self.random.randrange(1, 30)
        c.send(b"".join(self.random.choice(self.LINES) + b"\n" for _ in range(n)))
        for _ in range(n):
            reply = c.reply()
            for r in reply if isinstance(reply, list) else [reply]:
                assert "error" in r, reply


class Unwanted(Guest):
    """Descriptors that nobody has asked for."""

    def round(self, c):
        with MemFile(b"x") as fd:
            for i in range(10):
                c.send(line("vm.list", i), [fd] * self.random.randrange(33))
            for i in range(10):
                reply = c.reply()
                assert reply["id"] == i and "result" in reply, reply


KINDS = [(Good, 24), (Canceller, 6), (Subscriber, 10), (Slow, 6), (Half, 6), (Nonsense, 6),
         (Unwanted, 6)]


class Crowd(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--connections", "500", "--client-timeout", "1000", "--output", "64K",
                             "--requests-per-connection", "16").start()
        with self.daemon.client() as c:
            c.create_flat("spin", FLAT_SPIN, memory_bytes=2 << 20, start=True)
            c.create_flat("print", flat_printer("hello", 3), memory_bytes=2 << 20)
            c.call("vm.create", name="idle", memory_bytes=4 << 20)

    def tearDown(self):
        self.daemon.__exit__(*(None,) * 3)

    def settle(self, before):
        """Those that have hung up are gone when the daemon has seen it."""
        deadline = time.monotonic() + PATIENCE_S
        while self.daemon.descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.daemon.descriptors()

    def stir(self, until):
        """Events to tell of, and a VM that comes and goes."""
        with self.daemon.client() as c:
            while time.monotonic() < until:
                c.call("vm.start", vm="print")
                c.wait("print")

    def test_crowd(self):
        before = self.daemon.descriptors()
        guests = [kind(self.daemon, i) for i, kind in
                  enumerate(kind for kind, n in KINDS for _ in range(n))]
        self.assertEqual(len(guests), 64)
        until = time.monotonic() + SECONDS
        for g in guests:
            g.deadline = until
            g.thread.start()
        self.stir(until)
        for g in guests:
            g.thread.join(PATIENCE_S)
            self.assertFalse(g.thread.is_alive(), f"{type(g).__name__} {g.number} hangs")
        self.assertEqual([g.failure for g in guests if g.failure], [])
        self.assertIsNone(self.daemon.process.poll())
        self.assertLessEqual(self.settle(before), before)
        with self.daemon.client() as c:
            self.assertEqual(len(c.call("vm.list")["vms"]), 3)
            c.call("events.subscribe", since=0, types=["client.dropped"])
            self.assertIn("it has not read for 1000 ms", c.reply()["params"]["detail"])
        self.assertIn("it has not read for 1000 ms", self.daemon.log_text())
        for kind, _ in KINDS:
            print(kind.__name__, sum(g.rounds for g in guests if isinstance(g, kind)), "rounds")


if __name__ == "__main__":
    unittest.main()
