# SPDX-License-Identifier: MIT
"""By hand: INVEPT, INVVPID, registers, events, VMCS fields."""
from hvctl_harness import *

REMAP = ["remap", "demo", "--gpa", hex(TEXT), "--size", "4K", "--slot", "spare"]


def start(d, *options):
    d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run", *options)
    d.wait_console("demo", "remap: waiting")
    d.ok("slot-add", "demo", "spare", "--size", "2M")
    d.ok("write", "demo", "--slot", "spare", "--offset", 0, "--text", "NEW")
    d.ok("write", "demo", "--gpa", hex(TEXT), "--text", "OLD")


def read_text(d, word):
    d.ask("demo", word)
    raw = d.ok("read", "demo", "--gpa", hex(MAILBOX_TEXT), "--size", 8, "--raw", text=False)
    return raw.split(b"\0")[0].decode()


def total(counters, name):
    return sum(s["value"] for s in counters["stats"] if s["name"] == name)


class Hand(unittest.TestCase):
    def test_flush_makes_good(self):
        """A hand's INVEPT makes good what was left out. INVVPID does not: it leaves the
        guest-physical mapping, and the next walk uses that."""
        for words in (["flush", "demo"], ["flush", "demo", "--type", "all-context"],
                      ["invalidate", "demo"],
                      ["invalidate", "demo", "--type", "individual-address", "--gva", hex(TEXT)]):
            with self.subTest(words=words), Daemon("--unsafe-hooks") as d:
                start(d)
                self.assertEqual(read_text(d, 1), "OLD")
                d.json(*REMAP, "--skip-invalidation")
                self.assertEqual(read_text(d, 2), "OLD")
                done = d.json(*words)["executed"]
                self.assertEqual(len(done), 1)
                self.assertGreater(sum(done[0]["dropped"].values()), 0)
                self.assertEqual(read_text(d, 3), "NEW" if words[0] == "flush" else "OLD")
                d.retire("demo")

    def test_invvpid_leaves_guest_physical(self):
        """INVVPID takes no guest-physical mappings: they are the EPT's, and INVEPT's."""
        with Daemon() as d:
            start(d)
            d.ask("demo", 1)
            d.ok("pause", "demo")
            processor = d.json("get", "demo")["vcpus"][0]["processor"]
            before = d.json("tlb", "demo")["vcpus"][0]
            r = d.json("invalidate", "demo")["executed"][0]
            self.assertEqual((r["processor"], r["instruction"], r["type"], r["vpid"], r["ep4ta"]),
                             (processor, "INVVPID", "single-context", before["vpid"], None))
            held = before["held"]
            self.assertEqual(r["dropped"], {**held, "gpa": 0})
            r = d.json("flush", "demo")["executed"][0]
            self.assertEqual((r["instruction"], r["ep4ta"], r["vpid"]),
                             ("INVEPT", d.json("walk", "demo", 0)["ep4ta"], None))
            self.assertEqual(r["dropped"], {"i1": 0, "d1": 0, "l2": 0, "psc": 0,
                                            "gpa": held["gpa"]})
            counters = d.json("stats")
            self.assertEqual(total(counters, "invept_cause_request"), 1)
            after = d.json("tlb", "demo")["vcpus"][0]
            for name in ("data_lookups", "fetch_lookups", "walks", "fills", "retired"):
                self.assertEqual(before[name], after[name])
            d.retire("demo")

    def test_registers(self):
        with Daemon() as d:
            start(d)
            d.ok("pause", "demo")
            regs = {r["name"]: r["value"] for r in d.json("regs", "demo")["registers"]}
            self.assertEqual(regs["rip"], d.json("get", "demo")["vcpus"][0]["rip"])
            self.assertEqual(int(regs["efer"], 16) & 0x500, 0x500)
            self.assertEqual(regs["rip"], d.json("vmcs", "demo", "--field", "guest_rip")
                             ["fields"][0]["value"])
            d.ok("set-regs", "demo", "--set", "dr1=0x1234", "--set", "r15=0xffffffffffffffff")
            now = {r["name"]: r["value"] for r in d.json("regs", "demo")["registers"]}
            self.assertEqual(now, {**regs, "dr1": "0x1234", "r15": "0xffffffffffffffff"})
            code, _, err = d.run("--json", "set-regs", "demo", "--set", "r15=0", "--set",
                                 "rip=0x800000000000")
            data = json.loads(err)["data"]
            self.assertEqual((code, data["kind"], data["field"]),
                             (2, "invalid-value", "registers[1].value"))
            self.assertEqual({r["name"]: r["value"] for r in d.json("regs", "demo")["registers"]},
                             now)
            d.ok("set-regs", "demo", "--set", "r15=" + regs["r15"])
            d.ok("resume", "demo")
            d.ask("demo", 1)
            d.retire("demo")

    def test_inject(self):
        """The guest has no handlers: an exception that is delivered ends it, an interrupt waits."""
        with Daemon() as d:
            d.ok("create", "demo", guest("remap.elf"), "--run")
            d.wait_console("demo", "remap: waiting")
            d.ok("pause", "demo")
            self.assertRegex(d.ok("inject", "demo", "--kind", "exception", "--vector", 13,
                                  "--error-code", 16),
                             r"^demo vCPU 0: exception vector 13, error code 0x10 is queued$")
            code, _, err = d.run("--json", "inject", "demo", "--vector", 32)
            self.assertEqual((code, json.loads(err)["data"]["kind"]), (1, "busy"))
            d.ok("resume", "demo")
            self.assertEqual(d.wait_end("demo")["state"]["name"], "crashed")
            d.ok("delete", "demo")

    def test_vmcs(self):
        with Daemon() as d:
            d.ok("create", "demo", guest("remap.elf"))
            code, _, err = d.run("--json", "vmcs", "demo")
            self.assertEqual((code, json.loads(err)["data"]["kind"]), (1, "invalid-state"))
            d.ok("start", "demo")
            d.wait_console("demo", "remap: waiting")
            d.ok("pause", "demo")
            fields = {f["name"]: f for f in d.json("vmcs", "demo")["fields"]}
            self.assertGreater(len(fields), 100)
            eptp = int(fields["ept_pointer"]["value"], 16)
            self.assertEqual(hex(eptp & ~0xfff), d.json("mappings", "demo")["ep4ta"])
            self.assertEqual({f["type"] for f in fields.values()},
                             {"control", "read-only", "guest", "host"})
            d.retire("demo")


if __name__ == "__main__":
    main()
