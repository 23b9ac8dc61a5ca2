# SPDX-License-Identifier: MIT
"""Every guest runs to its end, prints what it should, and exits with its status."""
from hvctl_harness import *


def byte_sum(path):
    with open(path, "rb") as f:
        return sum(f.read())


# name, options of create, exit status, lines that the console must have
RUNS = [
    ("hello32.elf", ["--append", "one two=2"], 0,
     [r'hello from 32-bit protected mode', r'command line ".*one two=2"',
      r'memory 0x00000000-0x\w+ usable', r'hello32: done']),
    ("hello32.elf", ["--module", guest("hello32.bin"), "--module", guest("remap.elf")], 0,
     [r'module 0: %d bytes, sum %d, ".*"' % (
         os.path.getsize(guest("hello32.bin")), byte_sum(guest("hello32.bin"))),
      r'module 1: %d bytes, sum %d, ".*"' % (
         os.path.getsize(guest("remap.elf")), byte_sum(guest("remap.elf"))),
      r'hello32: done']),
    ("hello32.bin", ["--format", "flat"], 0,
     [r'hello from 32-bit protected mode', r'flat image: no Multiboot information']),
    ("hello64.elf", ["--append", "x=1", "--memory", "32M"], 0,
     [r'hello from 64-bit mode', r'memory       0x00000000-0x01ffffff', r'command line "x=1"',
      r'hello64: done']),
    ("traps32.elf", [], 0, [r'traps32: 36 passed, 0 failed']),
    ("traps64.elf", [], 0, [r'traps64: 33 passed, 0 failed']),
    ("paging64.elf", [], 0, [r'PASS 1G page', r'paging64: 28 passed, 0 failed']),
    ("selfmod.elf", [], 0, [r'selfmod: 5 passed, 0 failed']),
    ("compute.elf", ["--append", "rounds=1"], 0, [r'compute: 5 passed, 0 failed']),
    ("touch.elf", ["--append", "pages=100 rounds=50 page=4K"], 0, [r'touch: 5000 accesses done']),
    ("touch.elf", ["--append", "pages=100 rounds=50 page=2M op=write"], 0,
     [r'touch: 5000 accesses done']),
    ("touch.elf", ["--append", "pages=100 rounds=50 page=1G", "--ept-page", "4K"], 0,
     [r'touch: 5000 accesses done']),
    ("touch.elf", ["--append", "pages=1G"], 2, [r'touch: pages=1073741824 .*: does not fit in']),
    ("touch.elf", ["--append", "page=3K"], 2, [r'touch: page=3072: 4K, 2M or 1G']),
    ("touch.elf", ["--memory", "16M"], 2, [r'touch: needs more than 16 MiB of memory']),
    ("chase.elf", ["--append", "size=1M laps=2"], 0,
     [r'chase: 16384 lines, 64 bytes apart', r'chase: 32768 steps, every line once a lap']),
]

# How a VM is set up must not change what its guest sees.
SETTINGS = [[], ["--vpid=off"], ["--ept-page", "4K"], ["--accessed-dirty=off"],
            ["--ept-page", "2M", "--vpid=off"]]
SETTING_GUESTS = [("traps32.elf", 0), ("traps64.elf", 0), ("paging64.elf", 0), ("selfmod.elf", 0)]


class Guests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon())

    def run_guest(self, name, options, status, lines):
        d = self.daemon
        d.ok("create", "g", guest(name), "--run", *options)
        end = d.wait_end("g")
        console = d.ok("console", "g")
        self.assertEqual((end["state"]["name"], end["reason"]), ("shutoff", "exited"),
                         f"{end}\n{console}")
        for line in lines:
            self.assertRegex(console, "(?m)^" + line)
        self.assertNotIn("FAIL", console)
        self.assertEqual(end["exit_status"], status, console)
        d.ok("delete", "g")

    def test_runs(self):
        for name, options, status, lines in RUNS:
            with self.subTest(guest=name, options=options):
                self.run_guest(name, options, status, lines)

    def test_settings(self):
        for options in SETTINGS:
            for name, status in SETTING_GUESTS:
                with self.subTest(guest=name, options=options):
                    self.run_guest(name, options, status, [r'\w+: \d+ passed, 0 failed'])

    def test_again(self):
        """A VM that has ended starts again, from its image."""
        d = self.daemon
        d.ok("create", "g", guest("hello64.elf"), "--run")
        first = (d.wait_end("g")["exit_status"], d.ok("console", "g"))
        d.ok("start", "g")
        self.assertEqual((d.wait_end("g")["exit_status"], d.ok("console", "g")), first)
        d.ok("delete", "g")

    def test_wild(self):
        """Where nothing is mapped: all ones and no effect, as on a bus; code there is the end."""
        d = self.daemon
        wild = guest("wild.elf")
        self.run_guest("wild.elf", [], 0, [r"wild: read 0xffffffff"])
        self.run_guest("wild.elf", ["--append", "op=write"], 0, [r"wild: read 0xffffffff"])
        d.ok("create", "g", wild, "--append", "op=write")
        d.ok("slot-add", "g", "there", "--size", "4K")
        d.ok("map", "g", "--gpa", "0xc0000000", "--size", "4K", "--slot", "there")
        d.ok("start", "g")
        self.assertEqual(d.wait_end("g")["exit_status"], 0)
        self.assertIn("wild: read 0x12345678", d.ok("console", "g"))
        d.ok("delete", "g")
        d.ok("create", "g", wild, "--append", "op=fetch", "--run")
        end = d.wait_end("g")
        self.assertEqual((end["state"]["name"], end["reason"]), ("crashed", "unexpected"))
        self.assertIn("0xc0000000", end["report"])
        cause = d.json("get", "g")["cause"]
        self.assertEqual((int(cause["gpa"], 16), cause["exit_reason"]), (0xC0000000, 48))
        self.assertTrue(int(cause["qualification"], 16) & 4, "a fetch")
        d.ok("delete", "g")

    def test_protect(self):
        """A write that is forbidden pauses the VM; allowed again, it goes on."""
        d = self.daemon
        d.ok("create", "g", guest("protect.elf"), "--run")
        d.wait_console("g", "waiting on")
        d.ask("g", 1)
        d.ok("protect", "g", "--gpa", hex(TEXT), "--size", "4K", "--prot", "r")
        d.word("g", 2)
        d.json("wait", "g", "--until", "paused", "--timeout", 100000)
        vm = d.json("get", "g")
        self.assertEqual(vm["reason"], "ept-denied")
        self.assertEqual(int(vm["cause"]["gpa"], 16), TEXT)
        self.assertTrue(int(vm["cause"]["qualification"], 16) & 2, "a write")
        self.assertEqual(d.number("g", TEXT, 4), 1)
        d.ok("protect", "g", "--gpa", hex(TEXT), "--size", "4K", "--prot", "rwx")
        d.ok("resume", "g")
        d.wait_ack("g", 2)
        self.assertEqual(d.number("g", TEXT, 4), 2)
        d.word("g", STOP)
        self.assertEqual(d.wait_end("g")["exit_status"], 0)
        self.assertIn("protect: stopped after 2 writes", d.ok("console", "g"))
        d.ok("delete", "g")

    def test_walker(self):
        """What a walk predicts is what the guest reads, in every view of the same memory."""
        d = self.daemon
        for page in ("4K", "2M", "1G"):
            d.ok("create", "g", guest("walker.elf"), "--append", f"page={page}", "--run")
            d.wait_console("g", "walker: waiting")
            value = 0x1122334455667788
            d.ok("write", "g", "--gpa", "0x1234000", "--hex", value.to_bytes(8, "little").hex())
            for n, view in enumerate((0, 0x8000000000, 0x10000000000), 1):
                gva = view + 0x1234000
                d.ok("write", "g", "--gpa", hex(ARG), "--hex", gva.to_bytes(8, "little").hex())
                d.ask("g", n)
                self.assertEqual(d.number("g", RESULT, 8), value)
                walk = d.json("walk", "g", hex(gva))
                self.assertEqual((walk["outcome"], int(walk["gpa"], 16)), ("ok", 0x1234000))
                self.assertTrue(walk["tlb"]["d1"] or walk["tlb"]["l2"])
                raw = d.ok("read", "g", "--gva", hex(gva), "--size", 8, "--raw", text=False)
                self.assertEqual(int.from_bytes(raw, "little"), value)
            d.word("g", STOP)
            self.assertEqual(d.wait_end("g")["exit_status"], 0)
            d.ok("delete", "g")


if __name__ == "__main__":
    main()
