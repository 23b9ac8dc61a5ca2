# SPDX-License-Identifier: MIT
"""memory.batch in both forms over the raw socket: packed batches against an array of pages."""
import base64
import os
import random
import re
import struct
import subprocess
import sys
import unittest

from daemon_client import PATIENCE_S, ApiError, Daemon

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PAGE = 4096
PAGES = 2048
SLOT_PAGES = 512


def packed(op, records, **shared):
    """The compact form: each record a tuple of 64-bit numbers."""
    data = b"".join(struct.pack(f"<{len(r)}Q", *r) for r in records)
    return {"op": op, "records": base64.b64encode(data).decode(), **shared}


class Batch(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("--processors", "1", "--unsafe-hooks")
        self.daemon.__enter__()
        self.addCleanup(self.daemon.__exit__, None, None, None)
        self.client = self.daemon.client()
        self.addCleanup(self.client.close)

    def start(self, **params):
        self.client.call("vm.create", name="vm", memory_bytes=PAGES * PAGE, ept_page="4K", **params)
        self.client.call("memory.slot.add", vm="vm", slot="spare", size_bytes=SLOT_PAGES * PAGE)

    def end(self):
        self.client.call("vm.delete", vm="vm")

    def batch(self, **params):
        return self.client.call("memory.batch", vm="vm", **params)

    def mappings(self):
        """Slot, offset and permissions of each page that is mapped."""
        pages, gpa = {}, "0x0"
        while gpa:
            reply = self.client.call("memory.mappings", vm="vm", gpa=gpa, max=4096)
            for m in reply["mappings"]:
                for at in range(0, m["size_bytes"], PAGE):
                    pages[int(m["gpa"], 16) + at] = (m["slot"], m["offset_bytes"] + at, m["prot"])
            gpa = reply.get("next_gpa")
        return pages

    def test_against_model(self):
        """Random batches: each is done in full and as the list would be, or not at all."""
        rng = random.Random(20)
        self.start()
        model = {n * PAGE: ("ram", n * PAGE, "rwx") for n in range(PAGES)}
        done = refused = 0
        for _ in range(60):
            op = rng.choice(["map", "unmap", "protect", "remap", "remap"])
            n = rng.choice([1, 2, 30, 300])
            after, records = dict(model), []
            prot = rng.choice(["r", "rw", "rwx"])
            # mostly where it can be done, sometimes a last one where it can't
            places = sorted(model) if op != "map" else \
                [a for a in range(0, PAGES * PAGE, PAGE) if a not in model]
            if not places:
                continue
            places = rng.sample(places, min(n, len(places)))
            wrong = rng.random() < 0.3
            if wrong:
                places.append((PAGES + 7) * PAGE if op != "map" else places[0])
            for gpa in places:
                offset = rng.randrange(SLOT_PAGES) * PAGE
                records.append((gpa, offset) if op in ("map", "remap") else (gpa,))
                if op == "unmap":
                    after.pop(gpa, None)
                elif op == "protect" and gpa in after:
                    after[gpa] = (*after[gpa][:2], prot)
                elif op == "map":
                    after[gpa] = ("spare", offset, prot)
                elif gpa in after:
                    after[gpa] = ("spare", offset, after[gpa][2])
            shared = {"slot": "spare"} if op in ("map", "remap") else {}
            if op in ("map", "protect"):
                shared["prot"] = prot
            form = {"packed": packed(op, records, **shared)}
            if wrong:
                with self.assertRaises(ApiError) as e:
                    self.batch(**form)
                self.assertEqual(e.exception.field, f"packed.records[{len(records) - 1}].gpa")
                self.assertEqual(e.exception.kind, "overlap" if op == "map" else "not-mapped")
                refused += 1
            else:
                dry = self.batch(dry_run=True, **form)
                listed = [{"op": op, "gpa": hex(r[0]), "size_bytes": PAGE,
                           **({"offset_bytes": r[1]} if len(r) > 1 else {}), **shared}
                          for r in records]
                self.assertEqual(self.batch(dry_run=True, operations=listed), dry)
                change = self.batch(**form)
                self.assertEqual({**dry, "dry_run": False}, change)
                self.assertLessEqual(change["invept_issued"], 1)
                model = after
                done += 1
            self.assertEqual(self.mappings(), model)
        self.assertGreater(done, 20)
        self.assertGreater(refused, 5)
        self.end()

    def test_most(self):
        """As many records as there may be, and one more."""
        limits = self.client.call("daemon.info")["limits"]
        most = limits["packed_operations"]
        self.assertEqual(most * 16, limits["data_bytes"])
        self.client.call("vm.create", name="vm", memory_bytes=most * PAGE, ept_page="4K")
        reverse = [(n * PAGE, (most - 1 - n) * PAGE) for n in range(most)]
        change = self.batch(packed=packed("remap", reverse, slot="ram"))
        self.assertEqual(change["entries_written"], most)
        pages = self.mappings()
        self.assertEqual(pages[0], ("ram", (most - 1) * PAGE, "rwx"))
        self.assertEqual(len(pages), most)
        self.batch(packed=packed("unmap", [(n * PAGE,) for n in range(most)]))
        self.assertEqual(self.mappings(), {})
        for op, records, shared in (("unmap", [(n * PAGE,) for n in range(most + 1)], {}),
                                    ("map", reverse + [(0, 0)], {"slot": "ram"})):
            with self.assertRaises(ApiError) as e:
                self.batch(packed=packed(op, records, **shared))
            self.assertEqual((e.exception.kind, e.exception.field),
                             ("out-of-range", "packed.records"))
        self.end()

    def test_large_pages(self):
        """size_bytes is that of each; changes see those before them."""
        self.client.call("vm.create", name="vm", memory_bytes=64 << 20)
        change = self.batch(packed=packed("remap", [(0, 4 << 20), (4 << 20, 0)], slot="ram",
                                          size_bytes=2 << 20))
        self.assertEqual(change["entries_written"], 2)
        self.batch(packed=packed("remap", [(0, 0), (0, 8 << 20)], slot="ram", size_bytes=2 << 20))
        self.assertEqual(self.mappings()[0], ("ram", 8 << 20, "rwx"))
        self.end()

    def test_howto(self):
        """The program of docs/howto does what its text says."""
        with open(os.path.join(SOURCE, "docs", "howto", "remap-many-pages.md")) as f:
            program = re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)
        self.client.call("vm.create", name="demo", memory_bytes=16 << 20, ept_page="4K")
        self.client.call("memory.slot.add", vm="demo", slot="spare", size_bytes=4 << 20)
        r = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           timeout=PATIENCE_S, env={**os.environ, "HVD_SOCKET": self.daemon.path})
        self.assertEqual((r.returncode, r.stdout, r.stderr),
                         (0, "512 entries written, 0 INVEPT\n", ""))
        for n in (0, 511):
            m = self.client.call("memory.mappings", vm="demo", gpa=hex(0x400000 + n * PAGE),
                                 max=1)["mappings"][0]
            self.assertEqual((m["slot"], m["offset_bytes"]), ("spare", (511 - n) * PAGE))
        self.client.call("vm.delete", vm="demo")

    def test_skip_invalidation(self):
        self.start()
        change = self.batch(packed=packed("remap", [(0, 0), (PAGE, PAGE)], slot="spare"),
                            skip_invalidation=True)
        self.assertEqual((change["invalidation"]["need"], change["invept_issued"]), ("required", 0))
        self.end()

    REFUSED = (
        # packed, kind, field
        (packed("remap", [(0, 0)]), "missing-parameter", "packed.slot"),
        (packed("remap", [(0, 0)], slot="none"), "not-found", "packed.slot"),
        (packed("remap", [(0, 0)], slot="spare", prot="r"), "invalid-value", "packed.prot"),
        (packed("unmap", [(0,)], slot="spare"), "invalid-value", "packed.slot"),
        (packed("protect", [(0,)]), "missing-parameter", "packed.prot"),
        (packed("unmap", [(0,)], memory_type="wb"), "invalid-value", "packed.memory_type"),
        (packed("unmap", []), "invalid-value", "packed.records"),
        (packed("remap", [(0,)], slot="spare"), "invalid-value", "packed.records"),
        ({"op": "unmap", "records": "AAAA"}, "invalid-value", "packed.records"),
        (packed("unmap", [(0,), (1,)]), "invalid-value", "packed.records[1].gpa"),
        (packed("unmap", [(0,)], size_bytes=4095), "invalid-value", "packed.size_bytes"),
        (packed("remap", [(0, 0), (PAGE, 8)], slot="spare"), "invalid-value",
         "packed.records[1].offset_bytes"),
        (packed("remap", [(0, 0), (PAGE, SLOT_PAGES * PAGE)], slot="spare"), "out-of-range",
         "packed.records[1].offset_bytes"),
        (packed("remap", [(0, 0), (0, (SLOT_PAGES - 1) * PAGE)], slot="spare", size_bytes=8192),
         "out-of-range", "packed.records[1].size_bytes"),
        (packed("unmap", [(0,), (1 << 60,)]), "out-of-range", "packed.records[1].gpa"),
        (packed("map", [(0, 0)], slot="spare"), "overlap", "packed.records[0].gpa"),
    )

    def test_refused(self):
        self.start()
        before = self.mappings()
        for form, kind, field in self.REFUSED:
            with self.subTest(field=field, kind=kind), self.assertRaises(ApiError) as e:
                self.batch(packed=form)
            self.assertEqual((e.exception.kind, e.exception.field), (kind, field),
                             e.exception)
        listed = [{"op": "unmap", "gpa": "0x0", "size_bytes": PAGE}]
        with self.assertRaises(ApiError) as e:
            self.batch(packed=packed("unmap", [(0,)]), operations=listed)
        self.assertEqual((e.exception.kind, e.exception.field), ("invalid-value", "packed"))
        with self.assertRaises(ApiError) as e:
            self.batch()
        self.assertEqual((e.exception.kind, e.exception.field),
                         ("missing-parameter", "operations"))
        self.assertEqual(self.mappings(), before)
        self.end()


if __name__ == "__main__":
    unittest.main(verbosity=2)
