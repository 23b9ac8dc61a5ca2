# SPDX-License-Identifier: MIT
"""Every verb once, as a person uses it: what it prints, in at most 100 columns."""
from hvctl_harness import *

# Steps of one session. words, patterns that the output must have (in this order)
SESSION = [
    ("info", [r"^hvd \d+\.\d+", r"soft: in use", r"taken +it was asked for",
              r"^vmx: (not )?available", r"vcpus_per_vm +64 +vCPUs"]),
    ("engines", [r"^soft: in use", r"can do +ept-4k"]),
    ("list", [r"no VMs: 'hvctl create"]),
    ("create demo {remap} --memory 64M --run", [r"^demo: running on soft", r"1 vCPU"]),
    ("wait demo --until console --text waiting --timeout 100000", [r"^demo: running"]),
    ("create idle", [r"^idle: shutoff on soft"]),
    ("list", [r"^VM +state +reason", r"^demo +running", r"^idle +shutoff +created"]),
    ("get demo", [r"^demo: running", r"uuid +[0-9a-f-]{36}", r"memory +64 MiB",
                  r"vCPU +processor +VPID", r"0 +\d+ +\d+ +active"]),
    ("console demo", [r"remap: waiting on 0x300000"]),
    ("slot-add demo spare --size 4M", [r"^slot", r"^spare +anonymous +4 MiB +0 bytes"]),
    ("slots demo", [r"^ram +anonymous +64 MiB +64 MiB", r"^spare +anonymous +4 MiB"]),
    ("write demo --slot spare --offset 0 --text NEW", [r"4 bytes written"]),
    ("write demo --gpa 0x400000 --text OLD", [r"4 bytes written"]),
    ("read demo --gpa 0x400000 --size 20", [r"^00400000  4f 4c 44 00 .*\|OLD\.+\|", r"^00400010"]),
    ("read demo --gva 0x400000 --size 3 --raw", [r"^OLD$"]),
    ("read demo --slot spare --size 3 --raw", [r"^NEW$"]),
    ("walk demo 0x400000", [r"^gva 0x400000  vCPU 0", r"EPT PML4 +PDPT", r"the translation",
                            r"guest page 2M", r"\d+ references cold"]),
    ("walk demo 0xc0000000", [r"ends in: ept-violation at gpa 0xc0000000"]),
    ("walk demo 0x8000000000", [r"ends in: page-fault, error code 0x0"]),
    ("remap demo --gpa 0x400000 --size 4K --slot spare --dry-run",
     [r"^would write", r"^requires +INVEPT single-context  EP4TA 0x\w+", r"^ +\(\".*\"\)",
      r"^processors +\d"]),
    ("read demo --gpa 0x400000 --size 3 --raw", [r"^OLD$"]),
    ("remap demo --gpa 0x400000 --size 4K --slot spare",
     [r"^wrote +\d+ EPT entr", r"INVEPT single-context", r"INVEPT issued"]),
    ("read demo --gpa 0x400000 --size 3 --raw", [r"^NEW$"]),
    ("protect demo --gpa 0x400000 --size 4K --prot r", [r"^wrote +1 EPT entry"]),
    ("protect demo --gpa 0x400000 --size 4K --prot rwx", [r"^wrote +1 EPT entry"]),
    ("map demo --gpa 0x80000000 --size 2M --slot spare --offset 2M --prot rw",
     [r"^wrote", r"^requires +no invalidation"]),
    ("unmap demo --gpa 0x80000000 --size 2M", [r"^wrote", r"^requires +INVEPT"]),
    ("mappings demo", [r"^demo: EP4TA 0x\w+, .* accessed and dirty flags on$",
                       r"^  guest-physical +size +slot\+offset +prot +type +4K +2M",
                       r"^  0x0000000-0x03fffff +4 MiB +ram\+0x0 +rwx +wb +2 ",
                       r"^  0x0400000-0x0400fff +4 KiB +spare\+0x0 +rwx +wb +1 "]),
    ("dirty demo --gpa 0 --size 64M", [r"^0x0-0x3ffffff: [\d,]+ of 16,384 pages dirty", r"^  0x"]),
    ("dirty demo --gpa 0 --size 64M --clear --all",
     [r"pages dirty", r"^wrote +\d+ EPT entr", r"^requires +INVEPT single-context"]),
    ("batch demo --op map,gpa=0x80000000,size=4K,slot=spare,offset=8K --op "
     "remap,gpa=0x401000,size=4K,slot=spare,offset=4K",
     [r"^wrote +2 EPT entries", r"^requires +INVEPT"]),
    ("batch demo --op remap,gpa=0x400000,size=8K,slot=ram,offset=4M --op unmap,gpa=2G,size=4K",
     [r"^wrote +\d+ EPT entr"]),
    ("slot-remove demo spare", [r"^slot spare: removed, 4 MiB given back$"]),
    ("reset demo", [r"^demo: running \(started\)"]),
    ("wait demo --until console --text waiting --timeout 100000", [r"^demo: running"]),
    ("vpids", [r"^VM +vCPU +processor +VPID", r"^demo +0 +\d+ +\d+ +valid"]),
    ("vpids demo", [r"^demo +0"]),
    ("tlb demo", [r"^demo vCPU 0 on processor", r"lookups +hits L1", r"^  data +\d",
                  r"^  instructions +\d", r"walks +\d", r"entries held", r"INVEPT single-context"]),
    ("tlb-entries --structure d1 --structure i1 --processor {processor}",
     [r"^cache +VPID +PCID +EP4TA", r"^L1D|^L1I", r"demo/0$", r"\d+ of \d+ entries of processor"]),
    ("stats demo", [r"^of +counter +value +unit", r"exit\.\w+"]),
    ("stats demo --all", [r" 0  exits$"]),
    ("pause demo", [r"^demo: paused \(user\)"]),
    ("invalidate demo", [r"^processor +executed +of +L1I +L1D +L2 +PSC",
                         r"^ +\d+ +INVVPID single-context +VPID \d+ "]),
    ("flush demo", [r"^ +\d+ +INVEPT single-context +EP4TA 0x\w+ "]),
    ("regs demo", [r"^demo vCPU 0$", r"^  rax +0x\w{16}  rbx", r"rip +0x\w{16}",
                   r"^  cr0 +0x\w{16}", r"^ +sel +base +limit +ar$", r"^  cs +0x\w{4} ",
                   r"^  gdtr +0x\w{16}", r"dr7", r"pat ", r"activity +0x00000000"]),
    ("set-regs demo --set dr0=0x400000 --set dr1=0", [r"^  dr0 +0x0000000000400000"]),
    ("vmcs demo --field guest_rip", [r"^guest-state fields$", r"^  guest_rip +0x681e +0x\w{16}",
                                     r"guest RIP"]),
    ("vmcs demo", [r"^control fields$", r"^  vpid +0x0000 +0x\w{4}$", r"^read-only data fields$",
                   r"exit_reason +0x4402 +0x\w{8}$", r"^guest-state fields$",
                   r"^host-state fields$"]),
    ("inject demo --vector 32", [r"^demo vCPU 0: interrupt vector 32 is queued$"]),
    ("resume demo", [r"^demo: running"]),
    ("stop demo", [r"^demo: shutoff \(user\)"]),
    ("delete demo", [r"^demo: deleted"]),
    ("delete idle", [r"^idle: deleted"]),
    ("call vm.list", [r'^\{"vms":\[\]\}$']),
    ("call vm.create {{\"name\":\"raw\",\"image\":{{\"fd\":0}}}} --image {remap}",
     [r'^\{"vm":"raw",']),
    ("delete raw", [r"deleted"]),
    ("discover", [r'"openrpc"', r'"memory.remap"']),
]


class Verbs(unittest.TestCase):
    def check_output(self, out, patterns):
        at = 0
        for pattern in patterns:
            found = re.compile(pattern, re.M).search(out, at)
            self.assertIsNotNone(found, f"{pattern!r} is not in (the rest of):\n{out}")
            at = found.end()

    def test_session(self):
        with Daemon() as d:
            self.verbs = set()
            for line, patterns in SESSION:
                with self.subTest(line=line):
                    processor = ""
                    if "{processor}" in line:
                        processor = d.json("get", "demo")["vcpus"][0]["processor"]
                    words = [w.format(remap=guest("remap.elf"), processor=processor)
                             for w in line.split()]
                    self.verbs.add(words[0])
                    out = d.ok(*words)
                    self.check_output(out, patterns)
                    self.assertNotIn("\033", out, "no colour in a pipe")
                    if words[0] not in ("discover", "call"):
                        for text in out.splitlines():
                            self.assertLessEqual(len(text), 100, text)

    def test_every_verb_is_tried(self):
        out = subprocess.run([HVCTL, "help"], capture_output=True, text=True, check=True).stdout
        verbs = set(re.findall(r"(?m)^  ([a-z-]+)(?= |$)", out.split("Options of")[0])) - {"help"}
        tried = {line.split()[0] for line, _ in SESSION} | {"start", "export"}  # store_*.py
        streams = {"watch", "type", "events", "attach", "trace"}  # hvctl_stream, hvctl_attach
        self.assertEqual(verbs - tried - streams, set())

    def test_json_is_unchanged(self):
        """--json prints the bytes that the daemon sent as the result."""
        import socket
        with Daemon() as d:
            d.ok("create", "demo", guest("remap.elf"))
            for method, words in (("vm.get", ["get", "demo"]), ("vm.list", ["list"]),
                                  ("memory.slot.list", ["slots", "demo"]),
                                  ("engine.list", ["engines"])):
                params = {"vm": "demo"} if "demo" in words else {}
                s = socket.socket(socket.AF_UNIX)
                s.connect(d.socket)
                s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                      "params": params}).encode() + b"\n")
                line = s.makefile().readline()
                s.close()
                self.assertIn('"result":' + d.ok("--json", *words).rstrip("\n"), line)

    def test_start_and_follow(self):
        with Daemon() as d:
            d.ok("create", "h", guest("hello64.elf"))
            self.assertIn("h: running", d.ok("start", "h"))
            self.assertTrue(d.ok("console", "h", "--follow").endswith("hello64: done\n"))
            self.assertIn("exited with status 0", d.ok("list"))

    def test_environment(self):
        with Daemon() as d:
            r = subprocess.run([HVCTL, "list"], capture_output=True, text=True,
                               env={**os.environ, "HVD_SOCKET": d.socket})
            self.assertEqual(r.returncode, 0, r.stderr)

    def test_terminal(self):
        """On a terminal there is colour, unless NO_COLOR; and no escape sequence of a guest."""
        import pty
        with Daemon() as d:
            for env, colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": ""}, False)):
                main_end, far_end = pty.openpty()
                p = subprocess.Popen([HVCTL, "--socket", d.socket, "engines"], stdout=far_end,
                                     env={**os.environ, "TERM": "xterm", **env})
                os.close(far_end)
                out = b""
                try:
                    while chunk := os.read(main_end, 4096):
                        out += chunk
                except OSError:
                    pass
                os.close(main_end)
                self.assertEqual(p.wait(), 0)
                self.assertEqual(b"\033[" in out, colour, out)


if __name__ == "__main__":
    main()
