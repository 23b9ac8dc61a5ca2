# SPDX-License-Identifier: MIT
"""Definitions survive the daemon: stored, defined again, exported, deleted."""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import unittest

from daemon_client import (BUILD, FLAT_SPIN, HVD, PATIENCE_S, ApiError, Daemon, MemFile,
                           flat_printer, guest)
from store_harness import Keeper

HVCTL = os.path.join(BUILD, "hvctl", "hvctl")
SMALL = {"memory_bytes": 2 << 20}


def names(c):
    return [vm["vm"] for vm in c.call("vm.list")["vms"]]


class Lifecycle(unittest.TestCase):
    def test_defined_again(self):
        """Each way to end a daemon; the VM that comes back is the one that was made."""
        for how in signal.SIGTERM, signal.SIGKILL:
            with self.subTest(how=how), Keeper() as k:
                k.start()
                with k.client() as c:
                    c.create_flat("a", flat_printer("hello", 3), load_gpa="0x100000", **SMALL)
                    c.call("vm.create", name="b", memory_bytes=1 << 20, vcpus=2,
                           processors=[1, 0], vpid=False, ept_page="4K", accessed_dirty=False,
                           command_line="x \" \\ é")
                    was = {vm: c.call("vm.get", vm=vm) for vm in "ab"}
                    exported = {vm: c.call("vm.export", vm=vm) for vm in "ab"}
                self.assertTrue(all(vm["persistent"] for vm in was.values()))
                k.restart(how)
                with k.client() as c:
                    self.assertEqual(names(c), ["a", "b"])
                    self.assertEqual({vm: c.call("vm.get", vm=vm) for vm in "ab"}, was)
                    self.assertEqual({vm: c.call("vm.export", vm=vm) for vm in "ab"}, exported)
                    info = c.call("daemon.info")
                    self.assertEqual(info["state_dir"], k.state)
                    self.assertEqual((info["defined_vms"], info["damaged_definitions"]), (2, 0))
                    c.call("vm.start", vm="a")
                    self.assertEqual(c.wait("a")["exit_status"], 3)
                    self.assertEqual(c.console("a"), "hello")
                self.assertEqual(k.files(), k.expected_files())

    def test_the_file(self):
        """Readable: what was given, with defaults, in the order of the reference."""
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, start=True, **SMALL)
                uuid = c.call("vm.get", vm="a")["uuid"]
            text = k.read("a.json")
            self.assertEqual(list(json.loads(text)),
                             ["format", "uuid", "name", "image", "memory_bytes", "vcpus",
                              "image_format", "command_line", "vpid", "accessed_dirty", "ept_page",
                              "huge_pages"])
            self.assertEqual(json.loads(text)["uuid"], uuid)
            self.assertTrue(text.startswith('{\n  "format": 1,\n') and text.endswith("\n}\n"))
            self.assertEqual(os.stat(k.path("a.json")).st_mode & 0o077, 0)
            k.restart()
            with k.client() as c:  # it ran; now it does not
                self.assertEqual(c.call("vm.get", vm="a")["state"]["name"], "shutoff")
            self.assertEqual(k.read("a.json"), text)

    def test_delete(self):
        with Keeper() as k:
            k.start()
            with k.client() as c:
                for vm in "abc":
                    c.create_flat(vm, FLAT_SPIN, **SMALL)
                c.call("vm.delete", vm="a")
                self.assertNotIn("a.json", k.files())
            k.restart(signal.SIGKILL)
            with k.client() as c:
                self.assertEqual(names(c), ["b", "c"])
                self.assertEqual(k.files(), k.expected_files())
                c.call("vm.delete", vm="b")  # one that was defined at the start
                c.create_flat("b", FLAT_SPIN, **SMALL)
                uuid = c.call("vm.get", vm="b")["uuid"]
            k.restart()
            with k.client() as c:
                self.assertEqual(c.call("vm.get", vm="b")["uuid"], uuid)
                self.assertEqual(k.files(), k.expected_files())

    def test_transient(self):
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("t", FLAT_SPIN, transient=True, **SMALL)
                self.assertFalse(c.call("vm.get", vm="t")["persistent"])
                self.assertEqual(k.files(), set())
                for method in "vm.export", "vm.image.read":
                    with self.assertRaises(ApiError) as e:
                        c.call(method, vm="t")
                    self.assertEqual((e.exception.kind, e.exception.field),
                                     ("invalid-state", "vm"))
            k.restart()
            with k.client() as c:
                self.assertEqual(names(c), [])

    def test_no_state_directory(self):
        """A private daemon keeps nothing unless told where."""
        with Daemon() as d, d.client() as c:
            c.create_flat("a", FLAT_SPIN, **SMALL)
            self.assertFalse(c.call("vm.get", vm="a")["persistent"])
            self.assertIsNone(c.call("daemon.info")["state_dir"])
            with self.assertRaises(ApiError) as e:
                c.call("vm.export", vm="a")
            self.assertEqual(e.exception.kind, "invalid-state")
            c.call("vm.delete", vm="a")

    def test_refused_creations_leave_nothing(self):
        with Keeper("--memory", "64M") as k, MemFile(b"no image at all") as bad, \
                MemFile(FLAT_SPIN) as good:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
                before = k.files()
                for fd, params, kind in (
                        (bad, {"memory_bytes": 1 << 20}, "bad-image"),
                        (good, {"image_format": "flat", "memory_bytes": 1 << 30}, "no-memory"),
                        (good, {"image_format": "flat", "vcpus": 65}, "out-of-range"),
                        (good, {"image_format": "flat", "name": "a"}, "exists"),
                        (good, {"image_format": "flat", "memory_bytes": 1 << 20,
                                "processors": [63]}, "invalid-value")):
                    with self.subTest(params=params):
                        with self.assertRaises(ApiError) as e:
                            c.call("vm.create", fds=[fd], image={"fd": 0},
                                   **{"name": "b", **params})
                        self.assertEqual(e.exception.kind, kind)
                with self.assertRaises(ApiError):  # its start is refused
                    c.call("vm.create", name="b", memory_bytes=1 << 20, start=True)
                self.assertEqual(names(c), ["a"])
                c.call("vm.list")
                self.wait_for_files(k, before)
            k.restart(signal.SIGKILL)
            self.assertEqual(k.files(), before)

    def wait_for_files(self, k, expected):
        """Files that nothing names go soon, but after the reply."""
        import time
        deadline = time.monotonic() + PATIENCE_S
        while k.files() != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(k.files(), expected)

    def test_image_by_path(self):
        """The content is kept, not the path."""
        with Keeper() as k:
            k.start()
            path = os.path.join(k.folder, "image")
            shutil.copy(guest("hello64.elf"), path)
            with k.client() as c:
                c.call("vm.create", name="a", image={"path": path})
            os.unlink(path)
            k.restart()
            with k.client() as c:
                c.call("vm.start", vm="a")
                self.assertEqual(c.wait("a")["reason"], "exited")

    def test_modules(self):
        with Keeper() as k, open(guest("hello32.elf"), "rb") as image, \
                MemFile(b"one" * 5) as one, MemFile(b"two" * 700000) as two:
            k.start()
            with k.client() as c:
                c.call("vm.create", fds=[image.fileno(), one, two], name="a", image={"fd": 0},
                       modules=[{"fd": 1}, {"fd": 2}])
            k.restart()
            with k.client() as c:
                d = c.call("vm.export", vm="a")
                self.assertEqual([m["size_bytes"] for m in d["modules"]], [15, 2100000])
                data = b""
                while True:
                    r = c.call("vm.image.read", vm="a", module=1, offset_bytes=len(data))
                    data += base64.b64decode(r["data"])
                    if len(data) >= r["total_bytes"]:
                        break
                self.assertEqual(data, b"two" * 700000)
                self.assertEqual(c.call("vm.image.read", vm="a", module=0, offset_bytes=99)["data"],
                                 "")
                with self.assertRaises(ApiError) as e:
                    c.call("vm.image.read", vm="a", module=2)
                self.assertEqual((e.exception.kind, e.exception.field), ("not-found", "module"))

    def test_events(self):
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
            k.restart()
            with k.client() as c:
                sub = c.call("events.subscribe", since=1)
                self.assertEqual(sub["oldest_seq"], 1)
                ev = c.reply()["params"]
                self.assertEqual((ev["type"], ev["vm"]), ("vm.created", "a"))


class Export(unittest.TestCase):
    def hvctl(self, k, *words, code=0):
        r = subprocess.run([HVCTL, "--socket", k.daemon.path, *words], capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, code, (words, r.stderr))
        return r.stderr if code else r.stdout

    def test_round_trip(self):
        with Keeper() as k:
            k.start()
            out = os.path.join(k.folder, "out")
            module = os.path.join(k.folder, "module")
            with open(module, "wb") as f:
                f.write(os.urandom(1500000))
            self.hvctl(k, "create", "demo", guest("hello32.elf"), "--module", module, "--memory",
                       "8M", "--append", "say it", "--vcpus", "2", "--processor", "1",
                       "--processor", "1", "--ept-page", "2M", "--vpid=off")
            text = self.hvctl(k, "export", "demo")
            self.assertEqual(text, k.read("demo.json"))
            self.hvctl(k, "export", "demo", "--output", out)
            with open(os.path.join(out, "demo.json"), encoding="utf-8") as f:
                self.assertEqual(f.read(), text)
            self.hvctl(k, "delete", "demo")
            self.hvctl(k, "create", "--file", os.path.join(out, "demo.json"))
            before, after = json.loads(text), k.definition("demo")
            self.assertNotEqual(before.pop("uuid"), after.pop("uuid"))
            for d in before, after:
                for f in [d["image"], *d["modules"]]:
                    self.assertTrue(f.pop("path"))
            self.assertEqual(before, after)
            # another name, and other values, from the command line
            self.hvctl(k, "create", "--file", os.path.join(out, "demo.json"), "two", "--memory",
                       "16M", "--transient")
            two = json.loads(self.hvctl(k, "--json", "get", "two"))
            self.assertEqual((two["memory_bytes"], two["persistent"], len(two["vcpus"])),
                             (16 << 20, False, 2))
            self.assertFalse(two["vpid_enabled"])

    def test_by_hand(self):
        """A few lines suffice; what is wrong is named."""
        with Keeper() as k:
            k.start()
            shutil.copy(guest("hello64.elf"), os.path.join(k.folder, "image"))
            path = os.path.join(k.folder, "def")

            def create(text, *words, code=0):
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text if isinstance(text, str) else json.dumps(text))
                return self.hvctl(k, "create", "--file", path, *words, code=code)

            create({"format": 1, "image": {"path": "image"}}, "a")
            self.assertEqual(k.definition("a")["memory_bytes"], 64 << 20)
            sha = k.definition("a")["image"]["sha256"]
            for text, said in (("", "def: "), ("[]", "object"), ("null", "object"),
                               ('{"format": 1, "format": 1}', "format"),
                               ({"name": "b"}, "format: "),
                               ({"format": 2, "name": "b"}, "format: "),
                               ({"format": 1}, "name: "),
                               ({"format": 1, "name": "b", "memory": 1}, "memory: "),
                               ({"format": 1, "name": "b", "vcpus": "2"}, "vcpus: "),
                               ({"format": 1, "name": "b", "vcpus": 0}, "vcpus: "),
                               ({"format": 1, "name": "b", "image": {"path": "image", "x": 1}},
                                "image.x: "),
                               ({"format": 1, "name": "b", "image": {"fd": 0}}, "image.")):
                with self.subTest(text=text):
                    self.assertIn(said, create(text, code=2))
            for image, said in (({"path": "none"}, "none: No such file"),
                                ({"path": "image", "size_bytes": 5}, "size or SHA-256"),
                                ({"path": "image", "sha256": "0" * 64}, "size or SHA-256")):
                with self.subTest(image=image):
                    self.assertIn(said, create({"format": 1, "name": "b", "image": image}, code=5))
            create({"format": 1, "name": "b", "image": {"path": "image", "sha256": sha}})
            self.assertIn("b.json", k.files())
            self.assertIn("No such file", self.hvctl(k, "create", "--file", "/no/such", code=5))

    def test_refusals(self):
        with Keeper() as k:
            k.start()
            self.hvctl(k, "create", "a", "--memory", "1M")
            self.assertIn("--json", self.hvctl(k, "--json", "export", "a", "--output", "/tmp",
                                               code=2))
            blocked = os.path.join(k.folder, "blocked")
            with open(blocked, "w", encoding="ascii"):
                pass
            self.assertIn("blocked", self.hvctl(k, "export", "a", "--output", blocked, code=5))
            self.assertIn("no VM", self.hvctl(k, "export", "b", code=1))


class Directory(unittest.TestCase):
    def refused(self, *options, env=None):
        r = subprocess.run([HVD, "--engine", "soft", *options], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=PATIENCE_S,
                           env={**os.environ, **(env or {})})
        self.assertEqual(r.returncode, 1, r.stderr)
        return r.stderr

    def test_two_daemons(self):
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
            said = self.refused("--socket", os.path.join(k.folder, "s"), "--state-dir", k.state)
            self.assertIn(k.path(".lock"), said)
            self.assertIn(f"process {k.daemon.process.pid}", said)
            with k.client() as c:
                self.assertEqual(names(c), ["a"])
            self.assertIn("a.json", k.files())
            k.restart(signal.SIGKILL)  # a lock does not outlive its daemon
            with k.client() as c:
                self.assertEqual(names(c), ["a"])

    def test_can_not_be_used(self):
        with Keeper() as k:
            path_of_socket = os.path.join(k.folder, "s")
            with open(os.path.join(k.folder, "file"), "w", encoding="ascii"):
                pass
            for path, said in ((os.path.join(k.folder, "a", "b"), "No such file or directory"),
                               (os.path.join(k.folder, "file"), "Not a directory"),
                               ("/proc/self", "")):
                with self.subTest(path=path):
                    err = self.refused("--socket", path_of_socket, "--state-dir", path)
                    self.assertIn(path, err)
                    self.assertIn(said, err)
                    self.assertIn("uid", err)
            self.assertFalse(os.path.exists(path_of_socket))

    def test_named_by_systemd(self):
        with Keeper() as k:
            daemon = Daemon().start({"STATE_DIRECTORY": k.state + ":/elsewhere"})
            with daemon.client() as c:
                self.assertEqual(c.call("daemon.info")["state_dir"], k.state)
            daemon.__exit__(None, None, None)
            daemon = Daemon("--state-dir", "").start({"STATE_DIRECTORY": k.state})
            with daemon.client() as c:
                self.assertIsNone(c.call("daemon.info")["state_dir"])
            daemon.__exit__(None, None, None)

    def test_systemd_is_told(self):
        """While definitions are read, that it takes its time; then, how many there were."""
        with Keeper() as k, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            k.start()
            with k.client() as c:
                for vm in "ab":
                    c.create_flat(vm, FLAT_SPIN, **SMALL)
            k.end()
            k.write("c.json", "damaged")
            path = os.path.join(k.folder, "notify")
            notify.bind(path)
            notify.settimeout(PATIENCE_S)
            os.environ["NOTIFY_SOCKET"] = path
            try:
                k.start()
            finally:
                del os.environ["NOTIFY_SOCKET"]
            said = notify.recv(4096).decode().splitlines()
            self.assertIn("EXTEND_TIMEOUT_USEC=30000000", said)
            self.assertRegex(said[1], r"^STATUS=Reading definitions: [0-3] of 3$")
            while "READY=1" not in said:
                said = notify.recv(4096).decode().splitlines()
            self.assertIn("STATUS=Engine soft; 2 VMs, 0 clients; 2 VMs were defined, 1 set aside",
                          said)

    def test_check_tells(self):
        for options, said in ((["--socket", "/x"], "not stored"),
                              (["--config", os.devnull], "/var/lib/hvd"),
                              (["--config", os.devnull, "--state-dir", ""], "not stored"),
                              (["--socket", "/x", "--state-dir", "/y/z"], "/y/z")):
            r = subprocess.run([HVD, "--check", *options], capture_output=True, text=True,
                               timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
            self.assertIn(said, r.stdout, options)


if __name__ == "__main__":
    unittest.main(verbosity=2)
