# SPDX-License-Identifier: MIT
"""A disk that is full, and other limits of writing: clear errors, and nothing half done."""
import os
import resource
import subprocess
import tempfile
import unittest

from daemon_client import FLAT_SPIN, HVD, PATIENCE_S, ApiError, MemFile
from store_harness import Keeper

SMALL = {"memory_bytes": 2 << 20}


def fill(folder):
    """To the last page."""
    with open(os.path.join(folder, "fill"), "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


class Small:
    """A file system of its own, of size_bytes."""

    def __init__(self, size):
        self.folder = tempfile.mkdtemp(prefix="hvd-test-")
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs",
                            self.folder], capture_output=True, text=True, timeout=PATIENCE_S)
        if r.returncode:
            os.rmdir(self.folder)
            raise unittest.SkipTest("no tmpfs can be mounted: " + r.stderr.strip())

    def __enter__(self):
        return self.folder

    def __exit__(self, *_):
        subprocess.run(["umount", self.folder], check=True, timeout=PATIENCE_S)
        os.rmdir(self.folder)


class Space(unittest.TestCase):
    def refused(self, c, content, name="big"):
        with MemFile(content) as fd, self.assertRaises(ApiError) as e:
            c.call("vm.create", fds=[fd], name=name, image={"fd": 0}, image_format="flat",
                   memory_bytes=64 << 20)
        return e.exception

    def test_full_disk(self):
        with Small("1m") as folder, Keeper() as k:
            k.state = os.path.join(folder, "state")
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
                e = self.refused(c, b"x" * (2 << 20))
                self.assertEqual(e.kind, "limit")
                self.assertIn("No space left on device", str(e))
                self.assertIn(k.state, str(e))
                self.assertEqual(k.files(), k.expected_files())
                fill(folder)
                with self.assertRaises(ApiError) as e:
                    c.call("vm.create", name="b", **SMALL)
                self.assertEqual(e.exception.kind, "limit")
                self.assertEqual([vm["vm"] for vm in c.call("vm.list")["vms"]], ["a"])
                self.assertEqual(k.files(), k.expected_files())
                c.call("vm.create", name="t", transient=True, **SMALL)
                c.call("vm.delete", vm="t")
                c.call("vm.delete", vm="a")  # this needs no room
                os.unlink(os.path.join(folder, "fill"))
                c.create_flat("b", FLAT_SPIN, **SMALL)
            k.restart()
            with k.client() as c:
                self.assertEqual([vm["vm"] for vm in c.call("vm.list")["vms"]], ["b"])
            k.end()

    def test_start_on_a_full_disk(self):
        """What is there can be used."""
        with Small("1m") as folder, Keeper() as k:
            k.state = os.path.join(folder, "state")
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
            k.end()
            fill(folder)
            k.start()
            with k.client() as c:
                c.call("vm.start", vm="a")
            k.end()

    def test_read_only(self):
        with Small("1m") as folder, Keeper() as k:
            k.state = os.path.join(folder, "state")
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, **SMALL)
            k.end()
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True, timeout=PATIENCE_S)
            r = subprocess.run([HVD, "--socket", os.path.join(k.folder, "s"), "--engine", "soft",
                                "--state-dir", k.state], capture_output=True, text=True,
                               stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
            self.assertEqual(r.returncode, 1)
            self.assertIn("Read-only file system", r.stderr)
            self.assertIn(k.state, r.stderr)

    def test_file_size_limit(self):
        """Reaching RLIMIT_FSIZE is an error of the request, not the end of the daemon."""
        with Keeper() as k:
            k.start()
            resource.prlimit(k.daemon.process.pid, resource.RLIMIT_FSIZE, (100000, 100000))
            with k.client() as c:
                e = self.refused(c, b"x" * 200000)
                self.assertEqual(e.kind, "limit")
                self.assertIn("File too large", str(e))
                c.create_flat("a", FLAT_SPIN, **SMALL)
                self.assertEqual(k.files(), k.expected_files())

    def test_too_large_for_the_engine(self):
        """Refused before it is copied."""
        with Keeper() as k, tempfile.TemporaryFile() as f:
            f.truncate((256 << 20) + 1)
            k.start()
            with k.client() as c, self.assertRaises(ApiError) as e:
                c.call("vm.create", fds=[f.fileno()], name="big", image={"fd": 0},
                       image_format="flat")
            self.assertEqual((e.exception.kind, e.exception.field), ("bad-image", "image"))
            self.assertEqual(e.exception.data["limit"], 256 << 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
