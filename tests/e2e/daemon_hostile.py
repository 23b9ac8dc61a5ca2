# SPDX-License-Identifier: MIT
"""Input that is wrong on purpose: each is refused by name, and changes nothing."""
import json
import os
import random
import socket
import tempfile
import time
import unittest

from daemon_client import (FLAT_SPIN, PATIENCE_S, ApiError, Client, Daemon, MemFile,
                           flat_printer)

# method, parameters, kind, field. A VM demo with a slot s (1 MiB) exists, shutoff, with 4 MiB.
REFUSED = [
    ("vm.create", {"name": "demo"}, "exists", "name"),
    ("vm.create", {"name": "x", "memory_bytes": (1 << 20) + 1}, "invalid-value", "memory_bytes"),
    ("vm.create", {"name": "x", "memory_bytes": 1 << 46}, "no-memory", "memory_bytes"),
    ("vm.create", {"name": "x", "memory_bytes": (1 << 46) + 1}, "out-of-range", "memory_bytes"),
    ("vm.create", {"name": "x", "processors": [63]}, "invalid-value", "processors"),
    ("vm.create", {"name": "x", "modules": [{"fd": 0}]}, "invalid-value", "modules"),
    ("vm.create", {"name": "x", "image": {"path": "/etc/passwd"}}, "bad-image", "image"),
    ("vm.create", {"name": "x", "image": {"path": "/"}}, "file", "image.path"),
    ("vm.create", {"name": "x", "image": {"path": "/dev/null"}}, "file", "image.path"),
    ("vm.create", {"name": "x", "image": {"path": "/proc/self/mem"}}, "bad-image", "image"),
    ("vm.create", {"name": "x", "image": {"fd": 0}}, "out-of-range", "image.fd"),
    ("vm.get", {"vm": "nobody"}, "not-found", "vm"),
    ("vm.start", {"vm": "../demo"}, "invalid-value", "vm"),
    ("vm.pause", {"vm": "demo"}, "invalid-state", ""),
    ("vm.resume", {"vm": "demo"}, "invalid-state", ""),
    ("memory.slot.add", {"vm": "demo", "slot": "s", "size_bytes": 4096}, "exists", "slot"),
    ("memory.slot.add", {"vm": "demo", "slot": "t", "size_bytes": 4097}, "invalid-value",
     "size_bytes"),
    ("memory.slot.add", {"vm": "demo", "slot": "t", "size_bytes": 1 << 46}, "no-memory",
     "size_bytes"),
    ("memory.map", {"vm": "demo", "gpa": "0x0", "size_bytes": 4096, "slot": "s"}, "overlap", "gpa"),
    ("memory.map", {"vm": "demo", "gpa": "0x3ff000", "size_bytes": 8192, "slot": "s"}, "overlap",
     "gpa"),
    ("memory.map", {"vm": "demo", "gpa": "0x800001", "size_bytes": 4096, "slot": "s"},
     "invalid-value", "gpa"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 3072, "slot": "s"},
     "invalid-value", "size_bytes"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "s",
                    "offset_bytes": 1}, "invalid-value", "offset_bytes"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "s",
                    "offset_bytes": 1 << 20}, "out-of-range", "offset_bytes"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 2 << 20, "slot": "s"},
     "out-of-range", "size_bytes"),
    ("memory.map", {"vm": "demo", "gpa": "0xfffffffffffff000", "size_bytes": 8192, "slot": "s"},
     "out-of-range", "gpa"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "none"},
     "not-found", "slot"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "s",
                    "prot": "w"}, "invalid-value", "prot"),
    ("memory.map", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "s",
                    "memory_type": "wx"}, "invalid-value", "memory_type"),
    ("memory.unmap", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096}, "not-mapped", "gpa"),
    ("memory.unmap", {"vm": "demo", "gpa": "0x3ff000", "size_bytes": 8192}, "not-mapped", "gpa"),
    ("memory.remap", {"vm": "demo", "gpa": "0x800000", "size_bytes": 4096, "slot": "s"},
     "not-mapped", "gpa"),
    ("memory.read", {"vm": "demo", "gpa": "0x3fffff", "size_bytes": 2}, "fault", "gpa"),
    ("memory.read", {"vm": "demo", "gpa": "0xffffffffffffffff", "size_bytes": 2}, "out-of-range",
     "gpa"),
    ("memory.read", {"vm": "demo", "slot": "s", "offset_bytes": (1 << 20) - 1, "size_bytes": 2},
     "out-of-range", "offset_bytes"),
    ("memory.read", {"vm": "demo", "gva": "0x0", "vcpu": 1, "size_bytes": 2}, "invalid-value",
     "vcpu"),
    ("memory.write", {"vm": "demo", "gpa": "0x3fffff", "data": "AAA="}, "fault", "gpa"),
    ("memory.write", {"vm": "demo", "gpa": "0x0", "data": "A" * 1398104}, "out-of-range", "data"),
    ("memory.write", {"vm": "demo", "gpa": "0x0", "data": "A" * 2000000}, "out-of-range", "data"),
    ("memory.walk", {"vm": "demo", "gva": "0x0", "vcpu": 7}, "invalid-value", "vcpu"),
    ("tlb.entries", {"processor": 2}, "not-found", "processor"),
    ("tlb.entries", {"vpid": 65536}, "out-of-range", "vpid"),
    ("tlb.entries", {"max": 4097}, "out-of-range", "max"),
    ("tlb.stats", {}, "missing-parameter", "vm"),
    ("console.read", {"vm": "demo", "max_bytes": 0}, "out-of-range", "max_bytes"),
]


class Hostile(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--processors", "2")
        self.daemon.__enter__()
        self.addCleanup(self.daemon.__exit__, None, None, None)
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def snapshot(self):
        c = self.client
        vm = c.call("vm.get", vm="demo")
        return (vm, c.call("memory.slot.list", vm="demo"), c.call("vm.list"),
                c.read("demo", 4096, gpa="0x0"))

    def test_each_is_named(self):
        c = self.client
        c.create_flat("demo", FLAT_SPIN, memory_bytes=4 << 20)
        c.call("memory.slot.add", vm="demo", slot="s", size_bytes=1 << 20)
        before = self.snapshot()
        descriptors = self.descriptors()
        for method, params, kind, field in REFUSED:
            shown = json.dumps(params)[:100]
            with self.subTest(method=method, params=shown):
                with self.assertRaises(ApiError) as e:
                    c.call(method, **params)
                self.assertEqual((e.exception.kind, e.exception.field), (kind, field),
                                 str(e.exception))
                self.assertTrue(str(e.exception).startswith(method + ": "))
                self.assertEqual(self.snapshot(), before)
        self.expect_descriptors(descriptors)

    def test_garbage(self):
        """Random bytes, cut and merged: the daemon answers or hangs up, and lives."""
        seed = int(os.environ.get("HVD_TEST_SEED", "1"))
        rng = random.Random(seed)
        good = json.dumps(self.client.request("vm.list")).encode() + b"\n"
        for _ in range(60):
            c = self.daemon.client()
            for _ in range(rng.randrange(1, 8)):
                data = bytearray(good * rng.randrange(1, 4))
                for _ in range(rng.randrange(0, 6)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                try:
                    cut = rng.randrange(len(data) + 1)
                    c.send(bytes(data[:cut]))
                    c.send(bytes(data[cut:]))
                except OSError:
                    break
            if rng.random() < 0.5:
                c.socket.shutdown(socket.SHUT_WR)
                while True:
                    line = c.line()
                    if line is None:
                        break
                    reply = json.loads(line)
                    for r in reply if isinstance(reply, list) else [reply]:
                        self.assertTrue(("result" in r) != ("error" in r), r)
            c.close()
        self.assertEqual(self.client.call("vm.list"), {"vms": []}, f"seed {seed}")

    def test_cut_off_requests(self):
        """A request with an image, cut off at every byte; only the whole one creates a VM."""
        image = flat_printer("x", 0)
        descriptors = self.descriptors()
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "vm.create", "params": {
            "name": "demo", "image": {"fd": 0}, "image_format": "flat"}}).encode() + b"\n"
        for cut in range(1, len(request)):
            with MemFile(image) as fd, self.daemon.client() as c:
                c.send(request[:cut], [fd])
            self.assertEqual(self.client.call("daemon.info")["vms"], 0)
        self.expect_descriptors(descriptors)
        with MemFile(image) as fd, self.daemon.client() as c:
            c.send(request, [fd])
        while self.client.call("daemon.info")["vms"] != 1:
            pass

    def descriptors(self):
        """Each call is a turn of the daemon's loop, in which it notices who has gone before."""
        for _ in range(4):
            self.client.call("daemon.info")
        return self.daemon.descriptors()

    def expect_descriptors(self, n):
        """In the end, when the daemon has noticed who is gone."""
        deadline = time.monotonic() + PATIENCE_S
        while self.daemon.descriptors() != n and time.monotonic() < deadline:
            self.client.call("daemon.info")
        self.assertEqual(self.daemon.descriptors(), n)

    def test_disconnects(self):
        """Clients that go with requests in progress and waits pending leave nothing behind."""
        c = self.client
        c.create_flat("spin", FLAT_SPIN, start=True)
        before = self.descriptors()
        for i in range(40):
            other = self.daemon.client()
            for _ in range(3):
                other.send(json.dumps(other.request("vm.wait", vm="spin")).encode() + b"\n")
            other.send(json.dumps(other.request("vm.wait", vm="spin", until="console",
                                                text="never")).encode() + b"\n")
            name = f"v{i}"
            other.send(json.dumps(other.request("vm.create", name=name,
                                                memory_bytes=1 << 20)).encode() + b"\n")
            other.send(json.dumps(other.request("vm.delete", vm=name)).encode() + b"\n")
            other.send(b'{"jsonrpc":')
            other.close()
        self.expect_descriptors(before)
        self.assertEqual([v["vm"] for v in c.call("vm.list")["vms"]], ["spin"])
        c.call("vm.stop", vm="spin")

    def test_descriptor_flood(self):
        """As many descriptors as the kernel sends at a time, wanted by nobody."""
        before = self.descriptors()
        with tempfile.TemporaryFile() as f:
            for n in (1, 32, 33, 250):
                with self.daemon.client() as c:
                    line = json.dumps(c.request("vm.list")).encode() + b"\n"
                    c.send(line, [f.fileno()] * n)
                    reply = c.reply()
                    if n <= 32:
                        self.assertIn("result", reply)
                    else:
                        self.assertEqual(reply["error"]["data"]["kind"], "too-large")
                        self.assertEqual(reply["error"]["data"]["limit"], 32)
                    self.assertEqual(c.call("vm.list"), {"vms": []})
        self.expect_descriptors(before)

    def test_limits_are_told(self):
        """A message of the size that daemon.info tells is taken; one byte more is not."""
        limits = self.client.call("daemon.info")["limits"]
        size = limits["message_bytes"]
        request = json.dumps(self.client.request("vm.list")).encode()
        with self.daemon.client() as c:
            c.send(request + b" " * (size - 1 - len(request)) + b"\n")
            self.assertIn("result", c.reply())
        with self.daemon.client() as c:
            try:
                c.send(request + b" " * (size - len(request)) + b"\n")
            except OSError:
                pass
            self.assertEqual(c.reply()["error"]["data"]["limit"], size)
            self.assertIsNone(c.line())
        clients = [self.daemon.client() for _ in range(limits["connections"] - 1)]
        for c in clients:
            c.call("vm.list")
        with self.daemon.client() as c:
            self.assertEqual(c.reply()["error"]["data"]["kind"], "limit")
            self.assertIsNone(c.line())
        for c in clients:
            c.close()
        self.client.call("vm.list")


class Strangers(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_other_users(self):
        """The socket's mode keeps them out; should it not, the daemon does, and says so."""
        nobody = 65534
        with Daemon() as daemon:
            os.chmod(daemon.dir, 0o755)
            self.assertEqual(os.stat(daemon.path).st_mode & 0o7777, 0o600)
            for mode, expected in ((0o600, b"refused by the kernel"), (0o666, b"denied")):
                os.chmod(daemon.path, mode)
                r, w = os.pipe()
                child = os.fork()
                if child == 0:
                    os.setresuid(nobody, nobody, nobody)
                    try:
                        with Client(daemon.path) as c:
                            os.write(w, c.reply()["error"]["data"]["kind"].encode())
                    except PermissionError:
                        os.write(w, b"refused by the kernel")
                    os._exit(0)
                os.waitpid(child, 0)
                self.assertEqual(os.read(r, 100), expected)
                os.close(r)
                os.close(w)
            refusals = [l for l in daemon.log_text().splitlines() if "refused" in l]
            self.assertEqual(len(refusals), 1)
            self.assertIn(f"uid {nobody}", refusals[0])
            with daemon.client() as c:
                c.call("vm.list")


if __name__ == "__main__":
    unittest.main(verbosity=2)
