# SPDX-License-Identifier: MIT
"""docs/engines.md against the daemon: capabilities, and what may be null. And every link of
the documents leads somewhere."""
import glob
import os
import re
import unittest

from daemon_client import FLAT_SPIN, ApiError, Daemon

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
PAGE = os.path.join(SOURCE, "docs", "engines.md")


def table(title):
    """Rows of the first table below the heading, as lists of cells, without its head."""
    with open(PAGE, encoding="utf-8") as f:
        part = f.read().split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in re.findall(r"(?m)^\|.*\|$", part)]
    return rows[2:]


def capabilities(*options):
    with Daemon(*options) as daemon, daemon.client() as c:
        return set(c.call("daemon.info")["engine"]["capabilities"])


def may_be_null(schema):
    return {"type": "null"} in schema.get("oneOf", [])


def anchors(path):
    """Of the headings, as they are written into links."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"(?ms)^```.*?^```", "", f.read())
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
            for h in re.findall(r"(?m)^#+ (.*)$", text)}


class Links(unittest.TestCase):
    def test_links(self):
        pages = [os.path.join(SOURCE, "README.md")]
        pages += glob.glob(os.path.join(SOURCE, "docs", "**", "*.md"), recursive=True)
        self.assertGreater(len(pages), 10)
        for page in pages:
            with open(page, encoding="utf-8") as f:
                links = re.findall(r"\]\(([^)\s]+)\)", f.read())
            for link in links:
                if link.startswith("http"):
                    continue
                with self.subTest(page=os.path.relpath(page, SOURCE), link=link):
                    name, _, anchor = link.partition("#")
                    path = os.path.join(os.path.dirname(page), name) if name else page
                    self.assertTrue(os.path.exists(path))
                    if anchor:
                        self.assertIn(anchor, anchors(path))


class Engines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Daemon() as daemon, daemon.client() as c:
            cls.schemas = c.call("rpc.discover")["components"]["schemas"]

    def test_capabilities(self):
        rows = table("Capabilities")
        names = self.schemas["engine"]["properties"]["capabilities"]["items"]["enum"]
        self.assertEqual([row[0].strip("`") for row in rows], names)
        plain, unsafe = capabilities(), capabilities("--unsafe-hooks")
        for name, soft, *_ in rows:
            with self.subTest(capability=name):
                name = name.strip("`")
                self.assertIn(soft, ("yes", "no", "with `--unsafe-hooks`"))
                self.assertEqual(name in plain, soft == "yes")
                self.assertEqual(name in unsafe, soft != "no")

    def look(self, engine):
        """The objects that members are of, from a session on the engine."""
        with Daemon(engine=engine) as daemon, daemon.client() as c:
            c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20, start=True)
            walk = c.call("memory.walk", vm="demo", gva="0x100000")
            stats = c.call("stats.get", vm="demo")["stats"]
            seen = {
                "engine": c.call("daemon.info")["engine"],
                "tlb_vcpu": c.call("tlb.stats", vm="demo")["vcpus"][0],
                "walk": walk, "walk_ref": walk["refs"][0], "walk_references": walk["references"],
                "slot": c.call("memory.slot.list", vm="demo")["slots"][0],
                "invalidated": c.call("tlb.flush", vm="demo")["executed"][0],
                "stat": next(s for s in stats if s["name"].startswith("tlb.")),
                "vm_state": c.call("vm.pause", vm="demo"),
                "vm_wait_result": c.call("vm.wait", vm="demo", until="paused", timeout_ms=60000),
                "vm": c.call("vm.get", vm="demo"),
                "vpid": c.call("vpid.list", vm="demo")["vpids"][0],
            }
            seen["vcpu"] = seen["vm"]["vcpus"][0]
            return seen

    def test_null(self):
        rows = table("What is null")
        self.assertGreater(len(rows), 10)
        seen = self.look("soft")
        for member, *_ in rows:
            with self.subTest(member=member):
                name, field = member.strip("`").split(".")
                self.assertTrue(may_be_null(self.schemas[name]["properties"][field]))
                self.assertIsNotNone(seen[name][field])

    def test_under_vmx(self):
        seen = self.look("vmx")
        for member, *_ in table("What is null"):
            with self.subTest(member=member):
                name, field = member.strip("`").split(".")
                self.assertIsNone(seen[name][field])
        for name, value in seen["tlb_vcpu"].items():
            if name not in ("vm", "vcpu", "processor", "vpid"):
                self.assertIsNone(value, name)
        for name, _, vmx, _ in table("Capabilities"):
            with self.subTest(capability=name):
                self.assertIn(vmx, ("yes", "no", "as the processor has it"))
                if vmx in ("yes", "no"):
                    self.assertEqual(name.strip("`") in seen["engine"]["capabilities"],
                                     vmx == "yes")
        with Daemon(engine="vmx") as daemon, daemon.client() as c:
            with self.assertRaises(ApiError) as refused:
                c.call("tlb.entries")
            self.assertEqual(refused.exception.kind, "unsupported")

    def test_nothing_is_missing(self):
        """Every member that the API calls not observable is told of."""
        told = {row[0].strip("`") for row in table("What is null")}
        for name, schema in self.schemas.items():
            for field, value in schema.get("properties", {}).items():
                if may_be_null(value) and "not observable" in value.get("description", "") \
                        and name != "trace_record":
                    self.assertIn(f"{name}.{field}", told)


if __name__ == "__main__":
    unittest.main(verbosity=2)
