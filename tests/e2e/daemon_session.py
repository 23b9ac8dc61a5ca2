# SPDX-License-Identifier: MIT
"""Sessions over the raw socket: VMs run, are looked at, and their memory is moved."""
import os
import struct
import unittest

from daemon_client import (FLAT_SPIN, FLAT_TRIPLE_FAULT, LOAD, ApiError, Daemon, MemFile,
                           flat_printer, guest)

MAILBOX, TEXT, STOP = 0x300000, 0x400000, 0x504F5453


class Session(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--processors", "2")
        self.daemon.__enter__()
        self.addCleanup(self.daemon.__exit__, None, None, None)
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def check_tlb(self, vm):
        """What every TLB counter set satisfies."""
        stats = self.client.call("tlb.stats", vm=vm)["vcpus"]
        for v in stats:
            for kind in "fetch", "data":
                self.assertEqual(v[kind + "_lookups"], v[kind + "_hits_l1"] + v[kind + "_hits_l2"]
                                 + v[kind + "_misses"])
            self.assertEqual(v["walks"], sum(v["walk_refs_histogram"]))
        return stats

    def test_print_and_exit(self):
        c = self.client
        vm = c.create_flat("demo", flat_printer("hello over the wire\n", 42), memory_bytes=2 << 20)
        self.assertEqual((vm["vm"], vm["state"], vm["reason"], vm["engine"]),
                         ("demo", {"name": "shutoff", "libvirt": 5}, "created", "soft"))
        self.assertEqual([v["id"] for v in vm["vcpus"]], [0])
        for _ in range(2):  # a second start is like the first
            self.assertEqual(c.call("vm.start", vm="demo")["state"]["name"], "running")
            end = c.wait("demo")
            self.assertEqual((end["state"]["name"], end["reason"], end["exit_status"]),
                             ("shutoff", "exited", 42))
            self.assertEqual(c.console("demo"), "hello over the wire\n")
        self.check_tlb("demo")
        self.assertEqual([v["vm"] for v in c.call("vm.list")["vms"]], ["demo"])
        c.call("vm.delete", vm="demo")
        self.assertEqual(c.call("vm.list")["vms"], [])

    def test_wait_for_text(self):
        c = self.client
        c.create_flat("demo", flat_printer("one two three\n", 0), start=True)
        r = c.wait("demo", until="console", text="two")
        self.assertEqual(r["next_offset"], 7)
        r = c.wait("demo", until="console", text="three", offset=r["next_offset"])
        self.assertEqual(r["next_offset"], 13)
        with self.assertRaises(ApiError) as e:
            c.wait("demo", until="console", text="four")
        self.assertEqual(e.exception.kind, "invalid-state")

    def test_pause_resume_stop(self):
        c = self.client
        c.create_flat("spin", FLAT_SPIN, start=True)
        self.assertEqual(c.call("vm.pause", vm="spin")["state"], {"name": "paused", "libvirt": 3})
        first = c.call("vm.get", vm="spin")["vcpus"][0]
        self.assertEqual(first["rip"], hex(LOAD))
        again = c.call("vm.get", vm="spin")["vcpus"][0]
        self.assertEqual(first["retired"], again["retired"])
        c.call("vm.resume", vm="spin")
        while c.call("vm.get", vm="spin")["vcpus"][0]["retired"] == first["retired"]:
            pass
        with self.assertRaises(ApiError) as e:
            c.call("vm.delete", vm="spin")
        self.assertEqual(e.exception.kind, "invalid-state")
        with self.assertRaises(ApiError) as e:
            c.call("vm.wait", vm="spin", timeout_ms=50)
        self.assertEqual(e.exception.kind, "timeout")
        self.assertEqual(c.call("vm.stop", vm="spin")["state"]["name"], "shutoff")
        c.call("vm.delete", vm="spin")

    def test_crash(self):
        c = self.client
        c.create_flat("crash", FLAT_TRIPLE_FAULT, start=True)
        end = c.wait("crash")
        self.assertEqual((end["state"], end["reason"]),
                         ({"name": "crashed", "libvirt": 6}, "triple-fault"))
        vm = c.call("vm.get", vm="crash")
        self.assertEqual((vm["cause"]["vcpu"], vm["cause"]["exit_reason"]), (0, 2))
        c.call("vm.delete", vm="crash")

    def test_remap(self):
        """A running guest's page is pointed elsewhere: it reads the other text at once."""
        c = self.client
        with open(guest("remap.elf"), "rb") as image:
            c.call("vm.create", fds=[image.fileno()], name="demo", image={"fd": 0}, start=True)
        c.wait("demo", until="console", text="waiting")
        c.call("memory.slot.add", vm="demo", slot="spare", size_bytes=8192)
        c.write("demo", b"two\0", slot="spare", offset_bytes=4096)
        c.write("demo", b"one\0", gpa=hex(TEXT))

        word = 0

        def read():
            nonlocal word
            word += 1
            c.write("demo", struct.pack("<I", word), gpa=hex(MAILBOX))
            while struct.unpack("<I", c.read("demo", 4, gpa=hex(MAILBOX + 4)))[0] != word:
                pass
            return c.read("demo", 64, gpa=hex(MAILBOX + 48)).split(b"\0")[0]

        self.assertEqual(read(), b"one")
        change = {"vm": "demo", "gpa": hex(TEXT), "size_bytes": 4096, "slot": "spare",
                  "offset_bytes": 4096}
        dry = c.call("memory.remap", dry_run=True, **change)
        self.assertTrue(dry["dry_run"])
        self.assertEqual(read(), b"one")
        done = c.call("memory.remap", **change)
        self.assertEqual((done["entries_written"], done["entries_split"]),
                         (dry["entries_written"], dry["entries_split"]))
        self.assertEqual(done["invalidation"]["need"], "required")
        self.assertEqual(done["invalidation"]["instruction"], "INVEPT")
        self.assertEqual(dry["invalidation"], done["invalidation"])
        self.assertEqual(read(), b"two")

        walk = c.call("memory.walk", vm="demo", gva=hex(TEXT))
        self.assertEqual((walk["outcome"], walk["gpa"], walk["slot"], walk["slot_offset_bytes"],
                          walk["ept_page_bytes"]), ("ok", hex(TEXT), "spare", 4096, 4096))
        refs = walk["references"]
        self.assertEqual(refs["total"], len(walk["refs"]))
        self.assertEqual(refs["guest"], sum(r["dimension"] == "guest" for r in walk["refs"]))
        self.assertLessEqual(refs["with_caches"], refs["total"])
        self.assertEqual(walk["refs"][-1]["for_level"], 0)
        self.assertEqual(c.call("memory.walk", vm="demo", gva=hex(TEXT)), walk)

        slots = {s["slot"]: s for s in c.call("memory.slot.list", vm="demo")["slots"]}
        self.assertEqual(slots["spare"]["mapped_bytes"], 4096)
        self.assertEqual(slots["ram"]["mapped_bytes"], (64 << 20) - 4096)

        stats = self.check_tlb("demo")
        self.assertGreater(stats[0]["data_lookups"], 0)
        entries = c.call("tlb.entries", processor=stats[0]["processor"], max=4096)
        self.assertEqual(entries["total"], len(entries["entries"]))
        mine = [e for e in entries["entries"] if e["vm"] == "demo"]
        self.assertTrue(mine)
        # guest-physical mappings are the VM's, and none of its vCPUs'
        for e in mine:
            self.assertEqual(e["vcpu"], None if e["structure"] == "gpa" else 0, e)
        page = c.call("tlb.entries", processor=stats[0]["processor"], max=1)
        self.assertEqual(page["entries"], entries["entries"][:1])
        self.assertEqual(page["next_skip"], 1)
        vpids = c.call("vpid.list", vm="demo")["vpids"]
        self.assertEqual(vpids[0]["vpid"], stats[0]["vpid"])
        counters = {s["name"]: s for s in c.call("stats.get", vm="demo")["stats"]}
        self.assertTrue(counters)
        for s in counters.values():
            self.assertTrue(s["unit"])

        # reads change nothing: the guest only spins on what it has cached
        c.call("vm.pause", vm="demo")
        before = c.call("tlb.stats", vm="demo")
        c.call("memory.walk", vm="demo", gva=hex(TEXT))
        c.read("demo", 4096, gva=hex(TEXT))
        self.assertEqual(c.call("tlb.stats", vm="demo"), before)
        c.call("vm.resume", vm="demo")
        c.write("demo", struct.pack("<I", STOP), gpa=hex(MAILBOX))
        self.assertEqual(c.wait("demo")["exit_status"], 0)

    def test_map_unmap_protect(self):
        c = self.client
        c.create_flat("demo", FLAT_SPIN, memory_bytes=4 << 20)
        c.call("memory.slot.add", vm="demo", slot="s", size_bytes=2 << 20)
        at = {"vm": "demo", "gpa": "0x40000000", "size_bytes": 2 << 20}
        made = c.call("memory.map", slot="s", prot="rw", **at)
        self.assertEqual(made["invalidation"]["need"], "none")
        self.assertIsNone(made["invalidation"]["instruction"])
        c.write("demo", b"abc", gpa="0x40000ffe")
        self.assertEqual(c.read("demo", 5, slot="s", offset_bytes=0xFFD), b"\0abc\0")
        c.call("memory.protect", prot="r", **at)
        with self.assertRaises(ApiError) as e:
            c.call("memory.map", slot="s", **at)
        self.assertEqual((e.exception.kind, e.exception.field, e.exception.code),
                         ("overlap", "gpa", -32004))
        self.assertEqual(e.exception.data["existing"], ["0x40000000", "0x401fffff"])
        self.assertEqual(e.exception.data["requested"], ["0x40000000", "0x401fffff"])
        self.assertEqual(e.exception.data["slot"], "s")
        c.call("memory.unmap", **at)
        with self.assertRaises(ApiError) as e:
            c.call("memory.unmap", **at)
        self.assertEqual((e.exception.kind, e.exception.field), ("not-mapped", "gpa"))
        c.call("vm.delete", vm="demo")

    def test_file_slot(self):
        """A slot of the client's memfd is the client's memory."""
        c = self.client
        c.create_flat("demo", FLAT_SPIN)
        with MemFile(b"\0" * 8192) as fd:
            slot = c.call("memory.slot.add", fds=[fd], vm="demo", slot="shared", size_bytes=4096,
                          file={"fd": 0}, file_offset_bytes=4096)
            self.assertEqual((slot["kind"], slot["size_bytes"]), ("file", 4096))
            os.pwrite(fd, b"from outside", 4096)
            self.assertEqual(c.read("demo", 12, slot="shared"), b"from outside")
            c.write("demo", b"from within!", slot="shared")
            self.assertEqual(os.pread(fd, 12, 4096), b"from within!")

    def test_many_vms(self):
        c = self.client
        for i in range(20):
            c.create_flat(f"vm{i:02}", flat_printer(f"{i}\n", i), memory_bytes=2 << 20, start=True)
        for i in range(20):
            self.assertEqual(c.wait(f"vm{i:02}")["exit_status"], i)
            self.assertEqual(c.console(f"vm{i:02}"), f"{i}\n")
        self.assertEqual([v["vm"] for v in c.call("vm.list")["vms"]],
                         [f"vm{i:02}" for i in range(20)])
        for i in range(20):
            c.call("vm.delete", vm=f"vm{i:02}")

    def test_counters_in_pages(self):
        c = self.client
        for i in range(3):
            c.create_flat(f"page{i}", FLAT_SPIN, memory_bytes=2 << 20)
        whole = c.call("stats.get")
        self.assertEqual((len(whole["stats"]), whole["next_skip"]), (whole["total"], None))
        pages, skip = [], 0
        while skip is not None:
            page = c.call("stats.get", skip=skip, max=50)
            self.assertEqual(page["total"], whole["total"])
            self.assertLessEqual(len(page["stats"]), 50)
            pages += page["stats"]
            skip = page["next_skip"]
        self.assertEqual([(s["name"], s.get("vm")) for s in pages],
                         [(s["name"], s.get("vm")) for s in whole["stats"]])
        named = c.call("stats.get", names=["exit.", "maps"], max=1)
        self.assertEqual(named["total"], sum(s["name"].startswith(("exit.", "maps"))
                                             for s in whole["stats"]))
        with self.assertRaises(ApiError) as refused:
            c.call("stats.get", max=100000)
        self.assertEqual((refused.exception.kind, refused.exception.field), ("out-of-range", "max"))

    def test_discover(self):
        doc = self.client.call("rpc.discover")
        names = [m["name"] for m in doc["methods"]]
        self.assertIn("memory.remap", names)
        schemas = doc["components"]["schemas"]
        for m in doc["methods"]:
            self.assertIn(m["result"]["schema"]["$ref"].rsplit("/", 1)[1], schemas)
        # the documents describe what comes
        self.check_object("daemon_info", self.client.call("daemon.info"), schemas)
        self.check_object("engine_list", self.client.call("engine.list"), schemas)
        self.client.create_flat("demo", flat_printer("x", 0), start=True)
        self.client.wait("demo")
        for method, result in (("vm.get", "vm"), ("tlb.stats", "tlb_stats"),
                               ("stats.get", "stats"), ("vpid.list", "vpid_list"),
                               ("memory.slot.list", "slot_list")):
            self.check_object(result, self.client.call(method, vm="demo"), schemas)
        self.check_object("walk", self.client.call("memory.walk", vm="demo", gva="0x100000"),
                          schemas)

    def check_object(self, name, value, schemas):
        schema = schemas[name]
        self.assertLessEqual(set(schema["required"]), set(value))
        self.assertLessEqual(set(value), set(schema["properties"]))
        for key, v in value.items():
            self.check_value(f"{name}.{key}", v, schema["properties"][key], schemas)

    def check_value(self, name, v, schema, schemas):
        if "oneOf" in schema:
            if v is not None:
                self.check_value(name, v, schema["oneOf"][0], schemas)
        elif "$ref" in schema:
            self.check_object(schema["$ref"].rsplit("/", 1)[1], v, schemas)
        elif schema.get("type") == "array":
            self.assertIsInstance(v, list, name)
            for item in v:
                self.check_value(name, item, schema["items"], schemas)
        elif "type" in schema:
            kind = {"string": str, "integer": int, "boolean": bool}[schema["type"]]
            self.assertIs(type(v), kind, name)
            if "enum" in schema:
                self.assertIn(v, schema["enum"], name)
            if kind is int:
                self.assertGreaterEqual(v, schema["minimum"], name)
                self.assertLessEqual(v, schema["maximum"], name)


class UnsafeHooks(unittest.TestCase):
    def test_left_out_invalidation(self):
        """Only a daemon that was asked for it leaves out an INVEPT."""
        params = {"vm": "demo", "gpa": "0x200000", "size_bytes": 4096, "slot": "s",
                  "skip_invalidation": True}
        for options, allowed in (([], False), (["--unsafe-hooks"], True)):
            with Daemon(*options) as daemon, daemon.client() as c:
                self.assertEqual(c.call("daemon.info")["unsafe_hooks"], allowed)
                c.create_flat("demo", FLAT_SPIN)
                c.call("memory.slot.add", vm="demo", slot="s", size_bytes=4096)
                if allowed:
                    done = c.call("memory.remap", **params)
                    self.assertEqual(done["invept_issued"], 0)
                else:
                    with self.assertRaises(ApiError) as e:
                        c.call("memory.remap", **params)
                    self.assertEqual((e.exception.kind, e.exception.field),
                                     ("denied", "skip_invalidation"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
