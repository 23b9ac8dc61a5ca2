# SPDX-License-Identifier: MIT
"""examples/: what the programs print, and hvd.py's client where they don't go."""
import sys

from hvctl_harness import *

EXAMPLES = os.path.join(SOURCE, "examples")
sys.path.insert(0, EXAMPLES)
sys.dont_write_bytecode = True
import hvd  # noqa: E402


class Programs(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon("--processors", "1"))

    def program(self, name, *words):
        r = subprocess.run([sys.executable, "-B", os.path.join(EXAMPLES, name), *map(str, words)],
                           env={**os.environ, "HVD_SOCKET": self.daemon.socket},
                           stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=PATIENCE_S)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout.splitlines()

    def test_remap(self):
        lines = self.program("remap.py", guest("remap.elf"))
        self.assertEqual(lines[0], "remapped: 512 EPT entries written, INVEPT single-context: "
                                   "page-size-changed")
        self.assertEqual(lines[-2:], ['remap: read "OLD"', 'remap: read "NEW"'])

    def test_fault_log(self):
        """Each write is logged once, at the one instruction that writes."""
        lines = self.program("fault_log.py", guest("protect.elf"), 4)
        found = [re.fullmatch(r"event (\d+): write of gpa 0x400000 \(gva 0x400000\) by vCPU 0 "
                              r"at rip (0x[0-9a-f]+)", line).groups() for line in lines]
        self.assertEqual(len(found), 4)
        self.assertEqual(len({rip for _, rip in found}), 1)
        seqs = [int(seq) for seq, _ in found]
        self.assertEqual(seqs, sorted(set(seqs)))

    def test_map_many(self):
        self.daemon.ok("create", "vm", guest("touch.elf"), "--memory", "64M", "--append",
                       "rounds=0", "--run")
        lines = self.program("map_many.py", "vm", 3000)
        # the new order and the old one have the same page at two places
        self.assertEqual([line.split(", ")[1] for line in lines],
                         ["3000 entries written", "2998 entries written", "3000 entries written"])
        self.assertEqual([s["slot"] for s in self.daemon.json("slots", "vm")["slots"]], ["ram"])
        self.daemon.retire("vm")

    def test_watch_tlb(self):
        """More pages than the TLB holds: lookups and misses in each report."""
        self.daemon.ok("create", "vm", guest("touch.elf"), "--memory", "64M", "--append",
                       "pages=4000 rounds=0", "--run")
        head, *lines = self.program("watch_tlb.py", "vm", 3, 300)
        self.assertEqual(head.split()[:2], ["vcpu", "retired"])
        self.assertEqual(len(lines), 3)
        for line in lines:
            _, retired, lookups, misses, *_ = (int(w.replace(",", "")) for w in line.split())
            self.assertTrue(retired >= lookups >= misses)
        self.daemon.retire("vm")

    def test_events(self):
        self.daemon.ok("create", "vm", guest("hello64.elf"), "--run")
        self.daemon.wait_end("vm")
        self.daemon.ok("delete", "vm")
        lines = self.program("events.py", "--since", 1, "--until", "vm.deleted")
        words = [line.split()[2:] for line in lines]
        self.assertEqual([w for w in words if "vm" in w][0], ["vm.created", "vm", "shutoff", "created"])
        self.assertEqual(words[-1], ["vm.deleted", "vm"])
        self.assertEqual([int(line.split()[1]) for line in lines], list(range(1, len(lines) + 1)))


class Client(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.client = self.enterContext(hvd.Client(self.daemon.socket))

    def test_refusal(self):
        with self.assertRaises(hvd.Error) as e:
            self.client.call("vm.get", vm="none")
        self.assertEqual((e.exception.kind, e.exception.field, e.exception.code),
                         ("not-found", "vm", -32001))
        self.assertEqual(self.client.call("vm.list"), {"vms": []})

    def test_outstanding(self):
        """Replies in another order than that of the requests, and one cancelled."""
        c = self.client
        c.create("vm", guest("remap.elf"), start=True)
        waits = c.send("vm.wait", vm="vm", timeout_ms=100000)
        numbers = [c.send("vm.get", vm="vm") for _ in range(20)]
        for number in reversed(numbers):
            self.assertEqual(c.wait(number)["vm"], "vm")
        with self.assertRaises(TimeoutError):
            c.wait(waits, timeout=0.01)
        self.assertTrue(c.cancel(waits))
        with self.assertRaises(hvd.Error) as e:
            c.wait(waits)
        self.assertEqual(e.exception.kind, "cancelled")
        with self.assertRaises(ValueError):
            c.wait(waits)

    def test_notifications(self):
        c = self.client
        number = c.call("events.subscribe")["subscription"]
        c.create("vm", guest("hello64.elf"))
        method, event = c.next(timeout=PATIENCE_S)
        self.assertEqual((method, event["type"], event["subscription"]),
                         ("event", "vm.created", number))
        with self.assertRaises(TimeoutError):
            c.next(timeout=0.01)
        c.call("vm.delete", vm="vm")
        self.assertEqual(c.next(timeout=PATIENCE_S)[1]["type"], "vm.deleted")

    def test_bulk(self):
        """A reply of more than a megabyte, and what was written is read."""
        c = self.client
        c.create("vm", guest("hello64.elf"))
        data = bytes(range(256)) * 4096
        c.write("vm", data, gpa=0x200000)
        self.assertEqual(c.read("vm", len(data), gpa=0x200000), data)

    def test_end(self):
        self.daemon.process.terminate()
        self.daemon.process.wait(PATIENCE_S)
        self.assertEqual(list(self.client), [])
        with self.assertRaises(ConnectionError):
            self.client.call("vm.list")


if __name__ == "__main__":
    main()
