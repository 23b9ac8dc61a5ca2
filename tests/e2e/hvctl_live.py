# SPDX-License-Identifier: MIT
"""Subscriptions of hvctl against a real daemon and real guests."""
import select

from hvctl_fake import *
from hvctl_harness import *

OK, REFUSED, NO_DAEMON, INTERRUPTED = 0, 1, 3, 6
ESCAPE = b"\x1d"


class Live(unittest.TestCase):
    def setUp(self):
        self.d = self.enterContext(Daemon())

    def command(self, *words):
        return [HVCTL, "--socket", self.d.socket, *[str(w) for w in words]]

    def start(self, *words):
        p = subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stderr.close)
        return p

    def line(self, p, pattern):
        """Reads up to the line that has it."""
        for line in p.stdout:
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no {pattern!r}; {p.wait(PATIENCE_S)}: {p.stderr.read()}")

    def end(self, p):
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=PATIENCE_S)
        self.assertEqual((p.returncode, err), (OK, ""))

    def echo(self):
        self.d.ok("create", "echo", guest("echo.elf"), "--run")
        self.d.wait_console("echo", "\n> ")

    # --- attach and type ---

    def test_terminal(self):
        self.echo()
        with Terminal(self.command("attach", "echo")) as t:
            t.wait_raw()
            at = t.expect(b"> ")
            t.type(b"hello\r")
            at = t.expect(b"HELLO\r\n> ", at)
            t.type(b"again" + ESCAPE)
            self.assertEqual(t.wait(), OK)
            self.assertTrue(t.restored())
        # what was typed is the guest's; what it printed comes again
        with Terminal(self.command("attach", "echo")) as t:
            t.wait_raw()
            at = t.expect(b"HELLO\r\n> ")
            t.type(b"\r")
            at = t.expect(b"AGAIN\r\n> ", at)
            t.type(b"quit\r")
            self.assertEqual(t.wait(), OK)
            self.assertIn(b"echo: shutoff (exited with status 0)\r\n", t.seen[at:])
            self.assertTrue(t.restored())

    def test_job_control(self):
        """Stopped, the terminal is the shell's; in the foreground again, the guest's."""
        self.echo()
        with Terminal(["bash", "--norc", "-i"], env={"PS1": "PROMPT "}) as t:
            at = t.expect(b"PROMPT ")
            t.type(" ".join(self.command("attach", "echo")).encode() + b"\n")
            at = t.expect(b"leaves it", at)
            t.wait_raw()
            shell = t.process.pid
            with open(f"/proc/{shell}/task/{shell}/children", encoding="ascii") as f:
                os.kill(int(f.read().split()[-1]), signal.SIGTSTP)
            at = t.expect(b"PROMPT ", at)
            t.type(b"fg\n")
            at = t.expect(b"attach echo", at)
            t.wait_raw()
            t.type(b"abc\r")
            at = t.expect(b"ABC", at)
            t.type(ESCAPE)
            at = t.expect(b"PROMPT ", at)
            t.type(b"echo status=$?; exit\n")
            t.expect(b"status=0", at)
            t.wait()

    def test_pipe(self):
        self.echo()
        r = subprocess.run(self.command("attach", "echo"), input="one\ntwo\nquit\n", text=True,
                           capture_output=True, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, OK)
        self.assertTrue(r.stderr.startswith("echo: shutoff (exited with status 0)\n"), r.stderr)
        self.assertIn("> ONE\n> TWO\n> ", r.stdout)
        self.assertEqual(r.stdout, self.d.ok("console", "echo"))

    def test_much_input(self):
        """More than the daemon keeps for a guest: it is sent as the guest reads."""
        self.echo()
        text = "".join(f"line {i} of a long text\n" for i in range(3200))
        r = subprocess.run(self.command("attach", "echo"), input=text + "quit\n", text=True,
                           capture_output=True, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, OK, r.stderr)
        self.assertEqual(self.d.json("list")["vms"][0]["exit_status"], 0)
        self.assertIn("> LINE 0 OF A LONG TEXT\n> LINE 1 OF", r.stdout)
        self.assertIn("> LINE 3199 OF A LONG TEXT\n> ", r.stdout)
        self.assertEqual(len(re.findall(r"LINE \d+ OF A LONG TEXT\n", r.stdout)), 3200)

    def test_too_much_input(self):
        """Input behind what ended the guest: its end is what is told."""
        self.echo()
        r = subprocess.run(self.command("attach", "echo"), input="quit\n" + "x" * 100000,
                           text=True, capture_output=True, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, OK, r.stderr)
        self.assertTrue(r.stderr.startswith("echo: shutoff (exited with status 0)\n"), r.stderr)
        self.assertEqual(r.stdout, self.d.ok("console", "echo"))

    def test_type(self):
        self.echo()
        out = self.d.ok("type", "echo", "typed by hand", "--enter")
        self.assertRegex(out, r"^14 bytes typed, \d+ not yet read by the guest\n$")
        self.d.wait_console("echo", "TYPED BY HAND")
        p = self.start("console", "echo", "--follow")
        self.line(p, "TYPED BY HAND")
        self.d.ok("type", "echo", "--data", b"quit\r".hex())
        out, err = p.communicate(timeout=PATIENCE_S)
        self.assertEqual((p.returncode, err), (OK, ""))

    def test_vm_that_has_ended(self):
        self.d.ok("create", "h", guest("hello64.elf"), "--run")
        self.d.wait_end("h")
        for words in (["attach", "h"], ["console", "h", "--follow"]):
            with self.subTest(words=words):
                self.assertTrue(self.d.ok(*words).endswith("hello64: done\n"))
        code, _, err = self.d.run("attach", "nobody")
        self.assertEqual(code, REFUSED)
        self.assertIn("nobody", err)

    # --- events, trace, counters ---

    def test_events(self):
        p = self.start("events")
        filtered = self.start("events", "h", "--type", "vm.state", "--since", "0", "--count", "2")
        made = 0
        while not readable(p.stdout):  # until it has subscribed
            self.d.ok("create", f"x{made}")
            made += 1
        self.d.ok("create", "h", guest("hello64.elf"), "--run")
        self.d.wait_end("h")
        self.line(p, r"vm\.created +h ")
        self.line(p, r"vm\.state +h +running \(started\)$")
        self.line(p, r"vm\.state +h +shutoff \(exited with status 0\)")
        self.d.ok("delete", "h")
        self.line(p, r"vm\.deleted +h$")
        self.end(p)
        out, _ = filtered.communicate(timeout=PATIENCE_S)
        self.assertEqual(filtered.returncode, OK)
        self.assertEqual(len(out.splitlines()), 3, out)  # and the day
        # what happened can be told again
        again = self.d.ok("events", "h", "--since", "0", "--count", "4")
        self.assertEqual(re.findall(r"vm\.\w+", again),
                         ["vm.created", "vm.state", "vm.state", "vm.deleted"])

    def test_trace(self):
        self.echo()  # it polls its serial port
        out = self.d.ok("trace", "echo", "--kind", "exit", "--exit", "io-instruction", "--count",
                        "20")
        self.assertEqual(len(out.splitlines()), 20)
        self.assertRegex(out, r"(?m)  io-instruction    0x\w+ +in 1 byte, port 0x3fd$")
        said = json.loads(self.d.ok("trace", "echo", "--json", "--count", "1").splitlines()[0])
        self.assertEqual(said["records"][0]["kind"], "exit")

    def test_trace_of_a_remap(self):
        self.d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run")
        self.d.wait_console("demo", "remap: waiting")
        p = self.start("trace", "demo", "--kind", "invalidation")
        page = 0
        while not readable(p.stdout):  # until it has subscribed
            page += 1
            ep4ta = self.d.json("remap", "demo", "--gpa", hex(TEXT), "--size", "4K", "--slot",
                                "ram", "--offset", f"{8192 + 4 * (page % 2)}K")["ep4ta"]
        self.line(p, rf" INVEPT single-context, EP4TA {ep4ta}; (change|deferred), processor \d$")
        self.d.ok("stop", "demo")
        self.d.ok("delete", "demo")
        _, err = p.communicate(timeout=PATIENCE_S)
        self.assertEqual(p.returncode, REFUSED)
        self.assertRegex(err, r"^hvctl: the daemon ended the subscription: .*\n$")

    def test_counters(self):
        self.d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run")
        self.d.wait_console("demo", "remap: waiting")
        for words in (["stats", "demo", "--watch=0.1"], ["tlb", "demo", "--watch=0.1"],
                      ["watch", "demo", "--interval", "100", "--tlb"]):
            with self.subTest(words=words):
                out = self.d.ok(*words, "--count", "2")
                blocks = out.split("\n\n")
                self.assertEqual(len(blocks), 2, out)
                self.assertRegex(blocks[1], r"(?m)^.*(retired|instructions) +[\d,]{7,} +[\d,]{5,}")
                self.assertLessEqual(max(map(len, out.splitlines())), 100)
        said = [json.loads(line) for line in
                self.d.ok("--json", "stats", "demo", "--watch=0.1", "--count", "2").splitlines()]
        self.assertEqual([sorted(r) for r in said], [sorted(said[0])] * 2)
        self.assertGreater(said[1]["time_ns"], said[0]["time_ns"])

    def test_daemon_goes(self):
        self.d.ok("create", "h")
        p = self.start("events", "--since", "0")
        self.line(p, r"vm\.created")
        self.d.process.terminate()
        _, err = p.communicate(timeout=PATIENCE_S)
        self.assertIn(p.returncode, (REFUSED, NO_DAEMON), err)
        self.assertRegex(err, r"the daemon (ended the subscription|closed the connection)")
        self.d.process.wait(PATIENCE_S)

    # --- Ctrl-C ---

    def test_interrupted_wait(self):
        self.d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run")
        p = self.start("wait", "demo")
        wait_until(lambda: catches(p.pid, signal.SIGINT), "hvctl's handler")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE_S)
        self.assertEqual((p.returncode, out, err), (INTERRUPTED, "", "hvctl: interrupted\n"))

    def test_drawn_map(self):
        self.d.ok("create", "demo", guest("remap.elf"), "--memory", "64M", "--run")
        self.d.wait_console("demo", "remap: waiting")
        self.d.ok("slot-add", "demo", "spare", "--size", "4M")
        self.d.ok("remap", "demo", "--gpa", hex(TEXT), "--size", "4K", "--slot", "spare")
        self.d.ok("map", "demo", "--gpa", "4G", "--size", "2M", "--slot", "spare", "--offset",
                  "2M", "--prot", "r")
        out = self.d.ok("mappings", "demo", "--map")
        for pattern in (r"^  0x000000000  \|M+\|  ram\+0x0 +rwx +wb +4 MiB +2 x 2M$",
                        r"^  0x000400000  \|k+\|  spare\+0x0 +rwx +wb +4 KiB +1 x 4K$",
                        r"^  0x004000000  : +:  not mapped +4,032 MiB$",
                        r"^  0x100000000  \|M+\|  spare\+0x200000 +r +wb +2 MiB +1 x 2M$",
                        r"^  0x100200000  '-+'$"):
            self.assertRegex(out, "(?m)" + pattern)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)


def readable(stream):
    return bool(select.select([stream], [], [], 0.05)[0])


def catches(pid, number):
    """A signal sent from now on is handled."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caught = re.search(r"(?m)^SigCgt:\s*(\w+)$", f.read()).group(1)
    return int(caught, 16) >> (number - 1) & 1


if __name__ == "__main__":
    main()
