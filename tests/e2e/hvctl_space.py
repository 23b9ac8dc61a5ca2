# SPDX-License-Identifier: MIT
"""Mappings as the EPT has them, dirty pages, batches, slots that go, and a reset."""
import base64

from hvctl_harness import *

PAGE = 4096


def start(d, *options):
    d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run", *options)
    d.wait_console("demo", "remap: waiting")
    d.ok("slot-add", "demo", "spare", "--size", "4M")


def leaves(mappings, name):
    return sum(m["leaves"][name] for m in mappings["mappings"])


class Space(unittest.TestCase):
    def test_mappings(self):
        for page, sizes in (("4K", (16384, 0)), ("2M", (0, 32))):
            with self.subTest(page=page), Daemon() as d:
                start(d, "--ept-page", page)
                m = d.json("mappings", "demo")
                self.assertEqual([(r["gpa"], r["size_bytes"], r["slot"], r["offset_bytes"],
                                   r["prot"], r["memory_type"]) for r in m["mappings"]],
                                 [("0x0", 64 << 20, "ram", 0, "rwx", "wb")])
                self.assertEqual((leaves(m, "size_4k"), leaves(m, "size_2m")), sizes)
                self.assertTrue(m["accessed_dirty"])
                d.ok("protect", "demo", "--gpa", "0x1000000", "--size", "4K", "--prot", "r")
                d.ok("map", "demo", "--gpa", "0x80000000", "--size", "2M", "--slot", "spare",
                     "--offset", "2M", "--prot", "r", "--type", "uc")
                m = d.json("mappings", "demo")
                self.assertEqual([r["gpa"] for r in m["mappings"]],
                                 ["0x0", "0x1000000", "0x1001000", "0x80000000"])
                self.assertEqual(m["mappings"][1]["leaves"],
                                 {"size_4k": 1, "size_2m": 0, "size_1g": 0})
                self.assertEqual(leaves(m, "size_4k") * PAGE + (leaves(m, "size_2m") << 21),
                                 66 << 20)
                text = d.ok("mappings", "demo")
                self.assertRegex(text, r"(?m)^  0x04000000-0x7fffffff +1,984 MiB +not mapped")
                self.assertRegex(text, r"(?m)^  0x80000000-0x801fffff +2 MiB +spare\+0x200000 +r +uc")
                first = d.json("mappings", "demo", "--max", 1)
                self.assertEqual((len(first["mappings"]), first["next_gpa"]), (1, "0x1000000"))
                rest = d.json("mappings", "demo", "--gpa", first["next_gpa"])
                self.assertEqual(first["mappings"] + rest["mappings"], m["mappings"])
                d.retire("demo")

    def test_flags_off(self):
        with Daemon() as d:
            start(d, "--accessed-dirty=off")
            m = d.json("mappings", "demo")
            self.assertEqual((m["accessed_dirty"], m["mappings"][0]["accessed"],
                              m["mappings"][0]["dirty"]), (False, None, None))
            code, _, err = d.run("dirty", "demo", "--gpa", 0, "--size", "4K")
            self.assertEqual(code, 1)
            self.assertIn("no accessed and dirty flags", err)
            d.retire("demo")

    def dirty(self, d, gpa, size, *options):
        r = d.json("dirty", "demo", "--gpa", hex(gpa), "--size", size, *options)
        bits = int.from_bytes(base64.b64decode(r["bitmap"]), "little")
        self.assertEqual(bin(bits).count("1"), r["dirty_pages"])
        return {gpa + n * PAGE for n in range(size // PAGE) if bits >> n & 1}, r

    def test_dirty(self):
        """Cleared flags come back with the guest's next write, and only for what it writes."""
        with Daemon() as d:
            start(d, "--ept-page", "4K")
            d.ask("demo", 1)
            before, r = self.dirty(d, 0, 64 << 20, "--clear")
            self.assertIn(MAILBOX, before)
            self.assertNotIn(TEXT, before)
            self.assertEqual((r["change"]["invalidation"]["reason"],
                              r["change"]["entries_written"]), ("dirty-cleared", len(before)))
            d.ok("pause", "demo")
            d.json("dirty", "demo", "--gpa", 0, "--size", "64M", "--clear")
            none, r = self.dirty(d, 0, 64 << 20, "--clear")
            self.assertEqual((none, r["change"]["invalidation"]["need"]), (set(), "none"))
            d.ok("write", "demo", "--gpa", hex(TEXT), "--text", "x")
            self.assertEqual(self.dirty(d, 0, 64 << 20)[0], {TEXT})
            self.assertEqual(self.dirty(d, TEXT, PAGE)[0], {TEXT})
            self.assertRegex(d.ok("dirty", "demo", "--gpa", "4M", "--size", "8K"),
                             "^0x400000-0x401fff: 1 of 2 pages dirty\n"
                             "  0x400000-0x400fff  1 page\n$")
            d.ok("resume", "demo")
            d.ask("demo", 2)
            self.assertIn(MAILBOX, self.dirty(d, 0, 64 << 20)[0])
            d.retire("demo")

    def test_large_leaf(self):
        """One flag for 2 MiB: all its pages are told; cut by the range, it is not cleared."""
        with Daemon() as d:
            start(d, "--ept-page", "2M")
            d.ok("pause", "demo")
            self.dirty(d, 0, 64 << 20, "--clear")
            d.ok("write", "demo", "--gpa", hex(TEXT), "--text", "x")
            part, r = self.dirty(d, TEXT, 16 * PAGE, "--clear")
            self.assertEqual((len(part), r["change"]["entries_written"]), (16, 0))
            whole, r = self.dirty(d, TEXT, 2 << 20, "--clear")
            self.assertEqual((len(whole), r["change"]["entries_written"]), (512, 1))
            self.assertEqual(self.dirty(d, TEXT, 2 << 20)[0], set())
            d.retire("demo")

    def test_slot_remove(self):
        with Daemon() as d:
            start(d)
            d.ok("map", "demo", "--gpa", "0x80000000", "--size", "2M", "--slot", "spare")
            code, _, err = d.run("--json", "slot-remove", "demo", "spare")
            data = json.loads(err)["data"]
            self.assertEqual((code, data["kind"], data["field"]), (1, "in-use", "slot"))
            self.assertEqual(data["existing"], ["0x80000000", "0x801fffff"])
            self.assertIn("2097152 bytes of it are mapped", json.loads(err)["message"])
            self.assertEqual(len(d.json("slots", "demo")["slots"]), 2)
            d.ok("unmap", "demo", "--gpa", "0x80000000", "--size", "2M")
            self.assertEqual(d.json("slot-remove", "demo", "spare"),
                             {"slot": "spare", "size_bytes": 4 << 20})
            self.assertEqual([s["slot"] for s in d.json("slots", "demo")["slots"]], ["ram"])
            self.assertEqual(d.run("slot-remove", "demo", "spare")[0], 1)
            d.ok("slot-add", "demo", "spare", "--size", "8K")
            d.ok("slot-remove", "demo", "spare")
            d.retire("demo")

    def test_batch(self):
        """From a file: both pages at once with one invalidation, or neither of them."""
        with Daemon() as d, tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            start(d, "--ept-page", "4K")
            for page, text in enumerate(("ONE", "TWO")):
                d.ok("write", "demo", "--slot", "spare", "--offset", page * PAGE, "--text", text)
            d.ask("demo", 1)

            def batch(operations, *options):
                f.seek(0)
                f.truncate()
                json.dump(operations, f)
                f.flush()
                return d.run("--json", "batch", "demo", "--file", f.name, *options)

            good = [{"op": "remap", "gpa": hex(TEXT + n * PAGE), "size_bytes": PAGE,
                     "slot": "spare", "offset_bytes": n * PAGE} for n in (0, 1)]
            bad = good + [{"op": "map", "gpa": "0x200000", "size_bytes": PAGE, "slot": "spare"}]
            code, _, err = batch(bad)
            error = json.loads(err)["data"]
            self.assertEqual((code, error["kind"], error["field"]),
                             (1, "overlap", "operations[2].gpa"))
            self.assertEqual(len(d.json("mappings", "demo")["mappings"]), 1)
            dry = json.loads(batch(good, "--dry-run")[1])
            self.assertEqual(len(d.json("mappings", "demo")["mappings"]), 1)
            done = json.loads(batch(good)[1])
            self.assertEqual({**dry, "dry_run": False}, done)
            self.assertEqual((done["entries_written"], done["invept_issued"]), (2, 1))
            d.ask("demo", 2)
            self.assertEqual(d.ok("read", "demo", "--gpa", hex(MAILBOX_TEXT), "--size", 3, "--raw"),
                             "ONE")
            d.retire("demo")

    def test_packed(self):
        """Lines of text, from a file or standard input."""
        with Daemon() as d, tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            start(d, "--ept-page", "4K")
            f.write(f"# both pages\n{hex(TEXT)} 0\n\n\t{TEXT + PAGE} 4K  # the second\n")
            f.flush()
            done = d.json("batch", "demo", "--packed", "remap,slot=spare", "--records", f.name)
            self.assertEqual((done["entries_written"], done["invept_issued"]), (2, 1))
            m = d.json("mappings", "demo", "--gpa", hex(TEXT), "--max", 1)["mappings"][0]
            self.assertEqual((m["slot"], m["offset_bytes"], m["size_bytes"]), ("spare", 0, 2 * PAGE))
            text = d.ok("batch", "demo", "--packed", "protect,prot=r,size=8K", "--records", "-",
                        stdin=f"{TEXT}")
            self.assertRegex(text, r"wrote +2 EPT entries")
            m = d.json("mappings", "demo", "--gpa", hex(TEXT), "--max", 1)["mappings"][0]
            self.assertEqual((m["slot"], m["prot"]), ("spare", "r"))
            for lines, why in (("0x1000", r"standard input:1: .*offset"),
                               ("# x\n1 2 3", r"input:2: .*too many: 3"),
                               ("0 zero", "zero: not a number"), ("#\n", "no records"),
                               ("0 4096\n" * 65537, ":65537: more records")):
                code, _, err = d.run("batch", "demo", "--packed", "remap,slot=spare", "--records",
                                     "-", stdin=lines)
                self.assertEqual(code, 2)
                self.assertRegex(err, why)
            d.retire("demo")

    def test_reset(self):
        with Daemon() as d:
            start(d)
            d.ok("map", "demo", "--gpa", "0x80000000", "--size", "2M", "--slot", "spare")
            d.ok("write", "demo", "--gpa", "0x80000000", "--text", "KEPT")
            d.ok("write", "demo", "--gpa", hex(TEXT), "--text", "GONE")
            mapped = [(m["gpa"], m["slot"]) for m in d.json("mappings", "demo")["mappings"]]
            for step in (None, "pause"):
                if step:
                    d.ok(step, "demo")
                d.word("demo", 7)
                before = d.json("get", "demo")
                self.assertEqual(d.json("reset", "demo")["state"]["name"], "running")
                d.wait_console("demo", "remap: waiting")
                after = d.json("get", "demo")
                self.assertEqual(after["uuid"], before["uuid"])
                self.assertEqual(d.ok("console", "demo").count("remap: waiting"), 1)
                self.assertGreater(after["guest_time"], before["guest_time"])
            self.assertEqual(d.number("demo", TEXT, 4), 0)
            self.assertEqual(d.ok("read", "demo", "--gpa", "0x80000000", "--size", 4, "--raw"), "KEPT")
            self.assertEqual([(m["gpa"], m["slot"]) for m in d.json("mappings", "demo")["mappings"]],
                             mapped)
            d.ask("demo", 1)
            d.word("demo", STOP)
            d.wait_end("demo")
            code, _, err = d.run("reset", "demo")
            self.assertEqual(code, 1)
            self.assertIn("shutoff: start it instead", err)
            d.ok("delete", "demo")


if __name__ == "__main__":
    main()
