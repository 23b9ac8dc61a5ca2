# SPDX-License-Identifier: MIT
"""Bad input: the exit code, and a message that names the field and its limit."""
from hvctl_harness import *

REFUSED, USAGE, NO_DAEMON, TIMEOUT, LOCAL = 1, 2, 3, 4, 5

# "demo" runs with 64 MiB and a slot "spare" of 4 MiB; words, exit code, pattern of the message
CASES = [
    # names and states
    ("get nobody", REFUSED, r"hvctl: .*nobody.*\n  'hvctl list'"),
    ("start demo", REFUSED, r"running"),
    ("resume demo", REFUSED, r"running"),
    ("delete demo", REFUSED, r"running"),
    ("create demo", REFUSED, r"demo.*\n.*another name"),
    ("create x/y", USAGE, r"name: "),
    ("create " + "n" * 64, USAGE, r"name: "),
    # numbers
    ("create x --memory 64M --vcpus 65", USAGE, r"vcpus: .*64"),
    ("create x --memory 4097K1", USAGE, r"memory: "),
    ("create x --memory 1052673", USAGE, r"memory: .*4096"),
    ("create x --memory 4K", USAGE, r"memory: "),
    ("create x --processor 64", USAGE, r"processor: "),
    # images
    ("create x /nonexistent", LOCAL, r"/nonexistent: No such file or directory"),
    ("create x /dev/null", REFUSED, r"image"),
    ("create x /etc/passwd", REFUSED, r"image"),
    # ranges: the size that is no multiple, both ranges of an overlap
    ("remap demo --gpa 0x200000 --slot spare --size 3K", USAGE,
     r"size: (3072|0xc00).* multiple of (4096|0x1000)"),
    ("remap demo --gpa 0x200001 --slot spare --size 4K", USAGE, r"gpa: 0x200001.* multiple of (4096|0x1000)"),
    ("remap demo --gpa 0x200000 --slot spare --size 4K --offset 1", USAGE, r"offset: 0x1.* multiple of (4096|0x1000)"),
    ("remap demo --gpa 0x200000 --slot spare --size 0", USAGE, r"size: "),
    ("remap demo --gpa 0x200000 --slot nothing --size 4K", REFUSED, r"nothing"),
    ("remap demo --gpa 0x200000 --slot spare --size 8M", USAGE, r"size: .*0x400000"),
    ("remap demo --gpa 0x80000000 --slot spare --size 4K", REFUSED, r"mapped"),
    ("map demo --gpa 0x200000 --slot spare --size 2M", REFUSED,
     r"0x200000-0x3fffff .*0x0-0x3ffffff"),
    ("map demo --gpa 0xfffffffffffff000 --slot spare --size 8K", USAGE, r"gpa: .*ends at 0x\w+"),
    ("unmap demo --gpa 0x80000000 --size 4K", REFUSED, r"mapped"),
    ("protect demo --gpa 0 --size 4K --prot w", USAGE, r"prot: must be one of"),
    ("protect demo --gpa 0x80000000 --size 4K --prot r", REFUSED, r"mapped"),
    ("slot-add demo spare --size 4K", REFUSED, r"spare"),
    ("slot-add demo odd --size 4095", USAGE, r"size: "),
    ("slot-add demo odd --size 4K --file /nonexistent", LOCAL, r"No such file"),
    ("slot-add demo odd --size 1M --file /dev/null", REFUSED, r"file.*not a regular file"),
    ("slot-remove demo nothing", REFUSED, r"nothing"),
    ("slot-remove demo ram", USAGE, r"slot: .*own memory"),
    ("dirty demo --gpa 0 --size 4095", USAGE, r"size: 4095 .*multiple of 4096"),
    ("dirty demo --gpa 0x1 --size 4K", USAGE, r"gpa: 0x1 .*multiple of 4096"),
    ("dirty demo --gpa 0xfffffffffffff000 --size 8K", USAGE, r"gpa: "),
    ("dirty demo --gpa 0 --size 64G", USAGE, r"size: .*34359738368"),
    ("mappings demo --max 0", USAGE, r"max: "),
    ("mappings demo --max 4097", USAGE, r"max: .*4096"),
    ("batch demo", USAGE, r"--op"),
    ("batch demo --op remap,gpa=0", USAGE, r"op: size"),
    ("batch demo --op turn,gpa=0,size=4K", USAGE, r"op: op: .*map"),
    ("batch demo --op unmap,gpa=0,size=4K,colour=3", USAGE, r"op: an operation has no colour"),
    ("batch demo --op unmap,gpa=0,size=4K --op unmap,gpa=0x200000,size=4K,slot=spare", USAGE,
     r"operations\[1\].slot: unmap takes none"),
    ("batch demo --op unmap,gpa=0,size=4K --op protect,gpa=0x200000,size=4K", USAGE,
     r"operations\[1\].prot: protect needs it"),
    ("batch demo --op remap,gpa=0,size=4K,slot=nothing", REFUSED, r"operations\[0\].slot: .*nothing"),
    ("batch demo --op unmap,gpa=0,size=4K --op unmap,gpa=0x80000000,size=4K", REFUSED,
     r"operations\[1\].gpa: .*mapped"),
    ("batch demo --op unmap,gpa=0,size=4K --op unmap,gpa=0x200000,size=4095", USAGE,
     r"operations\[1\].size_bytes: .*multiple"),
    ("batch demo --op unmap,gpa=0,size=4K --op unmap,gpa=0,size=4K", REFUSED,
     r"operations\[1\].gpa: .*mapped"),
    ("batch demo --file /nonexistent", LOCAL, r"No such file"),
    ("batch demo --packed remap,slot=spare", USAGE, r"--records"),
    ("batch demo --records /etc/passwd", USAGE, r"--packed"),
    ("batch demo --packed slot=spare --records /etc/passwd", USAGE, r"packed: which change"),
    ("batch demo --packed remap,gpa=0 --records /etc/passwd", USAGE, r"packed: .*no gpa"),
    ("batch demo --packed unmap --packed unmap --records /dev/null", USAGE, r"packed: .*twice"),
    ("batch demo --packed unmap --records /dev/null", USAGE, r"/dev/null: no records"),
    ("batch demo --packed unmap --records /nonexistent", LOCAL, r"No such file"),
    ("batch demo --packed unmap --records /dev/null --op unmap,gpa=0,size=4K", USAGE, r"twice"),
    ("batch demo --file /etc/passwd", USAGE, r"/etc/passwd: "),
    ('call memory.batch {"vm":"demo","operations":[]}', USAGE, r"operations: one at least"),
    ("reset nobody", REFUSED, r"nobody"),
    # by hand
    ("flush demo --processor 63", REFUSED, r"processor: 63: there are"),
    ("flush demo --type individual-address", USAGE, r"type: must be one of"),
    ("invalidate demo --type individual-address", USAGE, r"gva: individual-address needs it"),
    ("invalidate demo --gva 0", USAGE, r"gva: goes with individual-address only"),
    ("invalidate demo --type individual-address --gva 0x800000000000", USAGE, r"not canonical"),
    ("invalidate demo --type all-context --vpid 1", USAGE, r"vpid: all-context takes none"),
    ("invalidate demo --vpid 0", USAGE, r"vpid: "),
    ("invalidate demo --vpid 65536", USAGE, r"vpid: .*65535"),
    ("invalidate demo --vcpu 1", USAGE, r"vcpu: 1: the last is 0"),
    ("regs demo --vcpu 1", USAGE, r"vcpu: 1: the last is 0"),
    ("set-regs demo", USAGE, r"--set"),
    ("set-regs demo --set rip", USAGE, r"set: rip is not REGISTER=VALUE"),
    ("set-regs demo --set rip=x", USAGE, r"set: rip=x: .*address"),
    ("set-regs demo --set rip=0", REFUSED, r"running: registers are set while it is paused"),
    ('call vcpu.set {"vm":"demo","registers":[]}', USAGE, r"registers: one at least"),
    ("inject demo", USAGE, r"vector: only an NMI needs none"),
    ("inject demo --vector 256", USAGE, r"vector: .*255"),
    ("inject demo --kind exception --vector 32", USAGE, r"vector: 32: 0 to 31"),
    ("inject demo --kind exception --vector 14", USAGE, r"error-code: .*without an error code"),
    ("inject demo --kind nmi --error-code 1", USAGE, r"error-code: only exceptions have one"),
    ("vmcs demo --field no_such", REFUSED, r"field: no VMCS field no_such"),
    ("vmcs demo --vcpu 7", USAGE, r"vcpu: 7: the last is 0"),
    # memory
    ("read demo --size 4", USAGE, r"gpa"),
    ("read demo --gpa 0 --gva 0 --size 4", USAGE, r"only one of gpa, gva and slot"),
    ("read demo --gpa 0 --size 2M", USAGE, r"size: .*1048576"),
    ("read demo --gpa 0x80000000 --size 4", REFUSED, r"nothing is mapped.*0x80000000"),
    ("read demo --gva 0x800000000000 --size 4", REFUSED, r"0x800000000000"),
    ("read demo --slot spare --offset 4M --size 1", USAGE, r"offset: .*0x400000"),
    ("read demo --gva 0 --size 4 --vcpu 3", USAGE, r"vcpu: 3: the last is 0"),
    ("write demo --gpa 0 --hex 0x12", USAGE, r"hex: "),
    ("walk demo 0 --vcpu 9", USAGE, r"vcpu: 9: the last is 0"),
    ("tlb-entries --processor 63", REFUSED, r"processor"),
    ("tlb-entries --max 0", USAGE, r"max: "),
    # waiting
    ("wait demo --timeout 1", TIMEOUT, r"demo is running: not stopped within 1 ms"),
    ("wait demo --until console", USAGE, r"text"),
    # hooks that the daemon was not started with
    ("remap demo --gpa 0x200000 --slot spare --size 4K --skip-invalidation", REFUSED,
     r"unsafe-hooks"),
    # raw calls
    ("call no.such.method", USAGE, r"no.such.method|unknown method|no such method"),
    ("call vm.get {}", USAGE, r"vm"),
    ('call vm.get {"vm":7}', USAGE, r"vm"),
    ('call vm.get {"vm":"demo","color":"red"}', USAGE, r"color"),
]


class Errors(unittest.TestCase):
    def test_cases(self):
        with Daemon() as d:
            d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run")
            d.wait_console("demo", "remap: waiting")
            d.ok("slot-add", "demo", "spare", "--size", "4M")
            before = d.json("slots", "demo"), d.json("list")["vms"][0]["state"]
            for line, code, pattern in CASES:
                with self.subTest(line=line):
                    got, out, err = d.run(*line.split())
                    self.assertEqual((got, out), (code, ""), err)
                    self.assertTrue(err.startswith("hvctl: "), err)
                    self.assertRegex(err, pattern)
                    self.assertNotRegex(err, r"(?m)^.{241}")
            # nothing of all that changed anything
            self.assertEqual((d.json("slots", "demo"), d.json("list")["vms"][0]["state"]), before)
            self.assertEqual(len(d.json("list")["vms"]), 1)

    def test_json(self):
        """With --json a refusal is the daemon's error object, for programs."""
        with Daemon() as d:
            code, out, err = d.run("--json", "get", "nobody")
            self.assertEqual((code, out), (REFUSED, ""))
            error = json.loads(err)
            self.assertEqual(error["data"]["kind"], "not-found")
            self.assertLess(error["code"], -31999)

    def test_no_daemon(self):
        with tempfile.TemporaryDirectory() as where:
            for path, text in ((f"{where}/none", "start one with"), (where, "Connection refused"),
                               (f"{where}/{'x' * 200}", "at most 107")):
                with self.subTest(path=path):
                    r = subprocess.run([HVCTL, "--socket", path, "list"], capture_output=True,
                                       text=True)
                    self.assertEqual(r.returncode, NO_DAEMON, r.stderr)
                    self.assertIn(text, r.stderr)

    def test_full_disk(self):
        with Daemon() as d, open("/dev/full", "w") as full:
            r = subprocess.run([HVCTL, "--socket", d.socket, "info"], stdout=full,
                               stderr=subprocess.PIPE, text=True)
            self.assertEqual(r.returncode, LOCAL)
            self.assertIn("No space left", r.stderr)


if __name__ == "__main__":
    main()
