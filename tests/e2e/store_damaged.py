# SPDX-License-Identifier: MIT
"""Definitions that can't be taken: set aside, reported, and no harm to any other."""
import json
import os
import shutil
import signal
import unittest

from daemon_client import FLAT_SPIN, MemFile, guest
from store_harness import Keeper


def change(**members):
    """Sets members of the definition; None takes one away."""
    def fn(k, name):
        d = {**k.definition("bad"), **members}
        k.write(name, json.dumps({key: v for key, v in d.items() if v is not None}))
    return fn


def text(what):
    return lambda k, name: k.write(name, what)


def cut(k, name):
    k.write(name, k.read(name)[:-20])


def twice(k, name):
    k.write(name, k.read(name).replace('"vcpus": 1', '"vcpus": 1, "vcpus": 2'))


def image_path(k):
    return k.path(k.definition("bad")["image"]["path"])


def no_image(k, _):
    os.unlink(image_path(k))


def shorter_image(k, _):
    os.truncate(image_path(k), 1)


def other_image(k, _):
    with open(image_path(k), "r+b") as f:
        f.write(b"\xf4")


def image_elsewhere(k, name):
    image = {**k.definition("bad")["image"], "path": "../../../etc/passwd"}
    change(image=image)(k, name)


def no_digest(k, name):
    image = k.definition("bad")["image"]
    del image["sha256"]
    change(image=image)(k, name)


def others_uuid(k, name):
    change(uuid=k.definition("zero")["uuid"], image=None)(k, name)


def link(k, name):
    os.rename(k.path(name), k.path("elsewhere"))
    os.symlink("elsewhere", k.path(name))


def folder(k, name):
    os.unlink(k.path(name))
    os.mkdir(k.path(name))


def fifo(k, name):
    os.unlink(k.path(name))
    os.mkfifo(k.path(name))


# what is done to bad.json, and what the log says of it
CASES = [
    (text(""), "JSON"),
    (text("\0" * 300), "JSON"),
    (text("null"), "object"),
    (text("[]"), "object"),
    (text("{}"), "format"),
    (text('{"format": 1, "name": "bad"}\xff'), "JSON"),
    (text(" " * (300 << 10)), "more than"),
    (cut, "JSON"),
    (twice, "vcpus"),
    (change(format=2), "format: 2 is not known"),
    (change(format=0), "format: 0 is not known"),
    (change(format=2, disks=[]), "format: 2 is not known"),
    (change(disks=[]), "disks: "),
    (change(name="other"), "name: other: its file would be other.json"),
    (change(name=None), "name: "),
    (change(uuid=None), "uuid: "),
    (change(uuid="A" * 36), "uuid: "),
    (change(uuid="../../../../../../../../../etc/passwd"[:36]), "uuid: "),
    (change(vcpus=0), "vcpus: "),
    (change(memory_bytes="64M"), "memory_bytes: "),
    (change(processors=[0, 1]), "processors: "),
    (change(modules=[{"path": "images/x", "size_bytes": 1, "sha256": "0" * 64}], image=None),
     "modules: "),
    (change(memory_bytes=(4 << 20) + 1), "the engine refuses it: "),
    (change(processors=[9]), "the engine refuses it: "),
    (change(memory_bytes=1 << 40), "the engine refuses it: "),
    (change(image_format="elf64"), "the engine refuses it: "),
    (others_uuid, "uuid: is that of"),
    (no_image, "No such file"),
    (shorter_image, "it has 1 bytes, not 2000"),
    (other_image, "SHA-256"),
    (image_elsewhere, "image.path: "),
    (no_digest, "image.sha256: "),
    (link, "symbolic"),
    (folder, ""),
    (fifo, ""),
]


class Damaged(unittest.TestCase):
    def test_cases(self):
        """Each by itself: the other two VMs are there, and the damaged file is kept as it was."""
        for i, (damage, said) in enumerate(CASES):
            with self.subTest(case=i, said=said), Keeper("--memory", "1G") as k:
                k.start()
                with k.client() as c:
                    for vm in "alpha", "bad", "zero":
                        c.create_flat(vm, FLAT_SPIN * 1000, memory_bytes=4 << 20)
                k.end()
                damage(k, "bad.json")
                before = k.files()
                k.start()
                with k.client() as c:
                    # who has another's UUID is not known: the first by name keeps it
                    vms = [vm["vm"] for vm in c.call("vm.list")["vms"]]
                    self.assertEqual(len(vms), 2)
                    lost = ({"alpha", "bad", "zero"} - set(vms)).pop()
                    if damage is not others_uuid:
                        self.assertEqual(lost, "bad")
                    info = c.call("daemon.info")
                    self.assertEqual((info["defined_vms"], info["damaged_definitions"]), (2, 1))
                    c.call("events.subscribe", since=1, types=["definition.damaged"])
                    ev = c.reply()["params"]
                    self.assertEqual((ev["type"], ev["vm"]), ("definition.damaged", lost))
                    self.assertIn(f"{lost}.json: ", ev["detail"])
                    self.assertIn(said, ev["detail"])
                    # the images of the damaged one may be of use
                    self.assertEqual(k.files(), (before - {f"{lost}.json"}) |
                                     {f"{lost}.json.damaged"})
                    # and its name is free
                    c.create_flat(lost, FLAT_SPIN, memory_bytes=4 << 20)
                log = k.daemon.log_text()
                self.assertIn(said, log)
                self.assertIn(f"set aside as {lost}.json.damaged", log)
                k.restart(signal.SIGKILL)
                with k.client() as c:
                    self.assertEqual(len(c.call("vm.list")["vms"]), 3)
                    self.assertEqual(c.call("daemon.info")["damaged_definitions"], 0)

    def test_never_over_an_earlier_one(self):
        with Keeper() as k:
            k.start()
            for n in range(3):
                k.end()
                k.write("a.json", f"damaged {n}")
                k.start()
            self.assertEqual({name: k.read(name) for name in k.files()},
                             {"a.json.damaged": "damaged 0", "a.json.damaged.1": "damaged 1",
                              "a.json.damaged.2": "damaged 2"})

    def test_repaired(self):
        """As the operator is told: correct it, rename it back, start anew."""
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, memory_bytes=4 << 20)
                was = c.call("vm.export", vm="a")
            k.end()
            k.write("a.json", k.read("a.json").replace("true", "treu"))
            k.start()
            k.restart()  # one more start must not cost the image
            k.end()
            k.write("a.json", k.read("a.json.damaged").replace("treu", "true"))
            os.unlink(k.path("a.json.damaged"))
            k.start()
            with k.client() as c:
                self.assertEqual(c.call("vm.export", vm="a"), was)

    def test_left_over(self):
        """What a daemon that was killed may leave goes; what is not ours stays."""
        with Keeper() as k:
            k.start()
            with k.client() as c:
                c.create_flat("a", FLAT_SPIN, memory_bytes=4 << 20)
            k.end()
            before = k.files()
            for name in (".b.json.new", ".c.json.old", "images/0" + "-" * 35 + ".image",
                         "images/x"):
                k.write(name, "half")
            for name in "README", "a.json.bak", ".hidden", "lost+found":
                k.write(name, "mine")
            k.start()
            self.assertEqual(k.files(), before | {"README", "a.json.bak", ".hidden", "lost+found"})
            self.assertIn("was not finished; removed", k.daemon.log_text())
            self.assertIn("no definition names it; removed", k.daemon.log_text())

    def test_a_file_that_came_meanwhile(self):
        """A definition that this daemon has not read is nobody's to replace."""
        with Keeper() as k:
            k.start()
            k.write("a.json", "somebody's")
            with k.client() as c:
                with self.assertRaises(Exception) as e:
                    c.create_flat("a", FLAT_SPIN, memory_bytes=4 << 20)
                self.assertEqual(e.exception.kind, "exists")
                self.assertEqual(c.call("vm.list")["vms"], [])
                self.assertEqual(k.read("a.json"), "somebody's")
                # and one that somebody took away is gone already
                c.create_flat("b", FLAT_SPIN, memory_bytes=4 << 20)
                os.unlink(k.path("b.json"))
                c.call("vm.delete", vm="b")

    def test_backup_and_restore(self):
        """Copied while a daemon is at work, and given to another."""
        with Keeper() as k, Keeper() as other, MemFile(b"m" * 100) as module, \
                open(guest("hello32.elf"), "rb") as image:
            k.start()
            with k.client() as c:
                c.call("vm.create", fds=[image.fileno(), module], name="a", image={"fd": 0},
                       modules=[{"fd": 1}], memory_bytes=16 << 20)
                shutil.copytree(k.state, other.state)
                other.start()
                with other.client() as o:
                    self.assertEqual(o.call("vm.export", vm="a"), c.call("vm.export", vm="a"))
                    o.call("vm.start", vm="a")
                    self.assertEqual(o.wait("a")["reason"], "exited")


if __name__ == "__main__":
    unittest.main(verbosity=2)
