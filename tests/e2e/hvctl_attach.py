# SPDX-License-Identifier: MIT
"""attach, type, console --follow and the progress line, on a terminal and through pipes."""
import base64
import threading

from hvctl_fake import *
from hvctl_harness import *

OK, REFUSED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 6
LATER = FakeDaemon.LATER
ESCAPE = b"\x1d"
STOPPED = {"vm": "demo", "state": {"name": "shutoff", "libvirt": 5}, "reason": "exited",
           "exit_status": 7, "guest_time": 1}


class Guest:
    """A VM's console, and what its daemon does with it."""

    def __init__(self, history=b"", accept=65536):
        self.printed = history
        self.accept = accept  # bytes of one request that are taken; or a list of these
        self.typed = b""
        self.waiting = None
        self.attached = None
        self.connection = None
        self.lock = threading.RLock()

    def methods(self):
        return {"console.attach": self.attach, "console.write": self.write, "vm.wait": self.wait,
                "console.read": self.read}

    def attach(self, c, params, number):
        with self.lock:
            offset = params.get("offset", 0)
            c.reply(number, {"subscription": 1, "vm": "demo", "offset": offset})
            self.connection = c
            self.tell(offset)
            self.attached = True
        return LATER

    def tell(self, offset, restarted=False):
        self.connection.notify("console", subscription=1, vm="demo", offset=offset,
                               data=base64.b64encode(self.printed[offset:]).decode(),
                               restarted=restarted)

    def print(self, data):
        with self.lock:
            offset = len(self.printed)
            self.printed += data
            if self.attached:
                self.tell(offset)

    def restart(self, data):
        with self.lock:
            self.printed = data
            self.tell(0, restarted=True)

    def write(self, c, params, number):
        data = base64.b64decode(params["data"])
        accept = self.accept.pop(0) if isinstance(self.accept, list) and self.accept else \
            65536 if isinstance(self.accept, list) else self.accept
        self.typed += data[:accept]
        return {"accepted_bytes": len(data[:accept]), "waiting_bytes": len(data[:accept])}

    def wait(self, c, params, number):
        self.waiting = number
        return LATER

    def stop(self, last=b""):
        """The reply to vm.wait overtakes what was printed last."""
        with self.lock:
            self.printed += last
            self.connection.reply(self.waiting, STOPPED)

    def read(self, c, params, number):
        data = self.printed[params["offset"]:]
        return {"offset": params["offset"], "data": base64.b64encode(data).decode(),
                "next_offset": len(self.printed), "total_bytes": len(self.printed)}


class OnATerminal(unittest.TestCase):
    def setUp(self):
        self.guest = Guest(b"boot\n")
        self.daemon = self.enterContext(FakeDaemon(**self.guest.methods()))

    def attach(self, *words, **more):
        t = self.enterContext(Terminal(self.daemon.command("attach", "demo", *words), **more))
        t.expect(b"boot\r\n")
        t.wait_raw()
        wait_until(lambda: self.guest.waiting, "vm.wait")
        return t

    def test_session(self):
        """History, keys as they are, the guest's own escape sequences, its end."""
        t = self.attach()
        self.assertTrue(t.seen.startswith(b"hvctl: attached to demo; Ctrl-] leaves it\r\n"),
                        t.seen)
        t.type(b"ls\r\x03\x1a\x1c\x04\x11")
        wait_until(lambda: self.guest.typed == b"ls\r\x03\x1a\x1c\x04\x11", "the keys")
        self.guest.print(b"\033[31mred\033[0m \xc3\xa9\n")
        t.expect(b"\033[31mred\033[0m \xc3\xa9\r\n")
        self.guest.stop(b"bye")
        self.assertEqual(t.wait(), OK)
        self.assertTrue(t.seen.endswith(b"bye\r\ndemo: shutoff (exited with status 7)\r\n"),
                        t.seen)
        self.assertTrue(t.restored())

    def test_escape(self):
        """What stands before it is still sent; what stands behind it is not."""
        t = self.attach()
        t.type(b"one" + ESCAPE + b"two")
        self.assertEqual(t.wait(), OK)
        self.assertEqual(self.guest.typed, b"one")
        self.assertTrue(t.seen.endswith(b"hvctl: left demo\r\n"), t.seen)
        self.assertTrue(t.restored())

    def test_other_escapes(self):
        for option, key, name in (("^A", b"\x01", b"Ctrl-A"), ("~", b"~", b"'~'")):
            with self.subTest(option=option):
                self.guest.typed = b""
                t = self.attach("--escape", option)
                self.assertIn(name + b" leaves it", t.seen)
                t.type(ESCAPE)
                wait_until(lambda: self.guest.typed == ESCAPE, "what is no escape now")
                t.type(key)
                self.assertEqual(t.wait(), OK)
                self.assertTrue(t.restored())

    def test_no_escape(self):
        t = self.attach("--escape", "none")
        self.assertIn(b"attached to demo until it stops", t.seen)
        t.type(ESCAPE)
        wait_until(lambda: self.guest.typed == ESCAPE, "what is no escape now")
        self.guest.stop()
        self.assertEqual(t.wait(), OK)

    def test_signals(self):
        """Every way out leaves the terminal as it was."""
        for number, again in ((signal.SIGTERM, False), (signal.SIGHUP, False),
                              (signal.SIGQUIT, False)):
            with self.subTest(number=number):
                t = self.attach()
                t.process.send_signal(number)
                self.assertEqual(t.wait(), -number)
                self.assertTrue(t.restored())

    def test_interrupt(self):
        """SIGINT from elsewhere: as the escape character."""
        t = self.attach()
        t.process.send_signal(signal.SIGINT)
        self.assertEqual(t.wait(), OK)
        self.assertTrue(t.restored())

    def test_stopped_and_continued(self):
        t = self.attach()
        t.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: not t.is_raw(), "the terminal given back")
        self.assertTrue(t.restored())
        os.kill(t.process.pid, signal.SIGCONT)
        t.wait_raw()
        t.type(b"x" + ESCAPE)
        self.assertEqual(t.wait(), OK)
        self.assertEqual(self.guest.typed, b"x")
        self.assertTrue(t.restored())

    def test_daemon_goes(self):
        t = self.attach()
        self.guest.connection.close()
        self.assertEqual(t.wait(), NO_DAEMON)
        self.assertIn(b"closed the connection", t.seen)
        self.assertTrue(t.restored())

    def test_vm_deleted(self):
        t = self.attach()
        self.guest.connection.notify("ended", subscription=1, reason="its VM was deleted")
        self.assertEqual(t.wait(), REFUSED)
        self.assertIn(b"ended the subscription: its VM was deleted", t.seen)
        self.assertTrue(t.restored())

    def test_guest_is_slow(self):
        """What the guest can't take yet is sent again, in order; the escape works meanwhile."""
        self.guest.accept = [1, 0, 0, 2]
        t = self.attach()
        t.type(b"abcdef")
        wait_until(lambda: self.guest.typed == b"abcdef", "all of it")
        self.guest.accept = 0
        t.type(b"ghi")
        wait_until(lambda: len(self.daemon.connections[0].requests) > 10, "it is tried again")
        t.type(ESCAPE)
        self.assertEqual(t.wait(), OK)
        self.assertEqual(self.guest.typed, b"abcdef")

    def test_refused_input(self):
        """Somebody who may only look on."""
        def denied(c, params, number):
            raise Refused("denied", "console.write: needs the role operate")
        self.daemon.methods["console.write"] = denied
        t = self.attach()
        t.type(b"x")
        self.assertEqual(t.wait(), REFUSED)
        self.assertIn(b"needs the role operate", t.seen)
        self.assertTrue(t.restored())

    def test_stopped_while_typing(self):
        """Input that comes too late is no error: the VM's end is what is told."""
        def stopped(c, params, number):
            raise Refused("invalid-state", "console.write: the VM is shutoff")
        self.daemon.methods["console.write"] = stopped
        t = self.attach()
        t.type(b"x")
        wait_until(lambda: self.daemon.connections[0].requests[-1][0] == "console.write", "x")
        self.guest.stop(b"bye\n")
        self.assertEqual(t.wait(), OK)
        self.assertNotIn(b"hvctl: the VM", t.seen)
        self.assertTrue(t.seen.endswith(b"bye\r\ndemo: shutoff (exited with status 7)\r\n"))

    def test_restarted(self):
        """After a reset offsets begin at 0 again: everything is shown, once."""
        t = self.attach()
        self.guest.restart(b"anew\n")
        t.expect(b"anew\r\n")
        self.guest.print(b"more\n")
        t.expect(b"more\r\n")
        self.guest.stop()
        self.assertEqual(t.wait(), OK)
        self.assertEqual(t.seen.count(b"anew"), 1)


class Pipes(unittest.TestCase):
    def test_pipe(self):
        """Input from a pipe; in the output there is what the guest printed, and nothing else."""
        g = Guest(b"> ")
        with FakeDaemon(**g.methods()) as d:
            p = subprocess.Popen(d.command("attach", "demo"), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            p.stdin.write(b"quit" + ESCAPE + b"\n")
            p.stdin.close()
            wait_until(lambda: g.typed == b"quit\x1d\n", "the input")
            g.print(b"\033[1mbye\0\r\n")
            g.stop(b"!")
            self.assertEqual(p.wait(PATIENCE_S), OK)
            self.assertEqual(p.stdout.read(), b"> \033[1mbye\0\r\n!")
            self.assertEqual(p.stderr.read(), b"demo: shutoff (exited with status 7)\n")
            p.stdout.close()
            p.stderr.close()

    def test_much_input(self):
        """More than fits anywhere, to a guest that takes 1000 bytes a time."""
        g = Guest(accept=1000)
        data = bytes(range(256)) * 1000
        with FakeDaemon(**g.methods()) as d:
            with tempfile.TemporaryFile() as f:
                f.write(data)
                f.seek(0)
                p = subprocess.Popen(d.command("attach", "demo"), stdin=f,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                wait_until(lambda: len(g.typed) >= len(data), "all of it")
                g.stop()
                p.communicate(timeout=PATIENCE_S)
            self.assertEqual(p.returncode, OK)
            self.assertTrue(g.typed == data)

    def test_no_history_twice(self):
        """--offset, and output that both a notification and the last read have."""
        g = Guest(b"0123456789")
        with FakeDaemon(**g.methods()) as d:
            p = d.start("console", "demo", "--follow", "--offset", "4")
            wait_until(lambda: g.waiting, "vm.wait")
            g.print(b"abc")
            g.stop(b"def")
            out, err = p.communicate(timeout=PATIENCE_S)
            self.assertEqual((p.returncode, out, err), (OK, b"456789abcdef", b""))

    def test_follow_json(self):
        g = Guest(b"one")
        with FakeDaemon(**g.methods()) as d:
            p = d.start("--json", "console", "demo", "--follow")
            wait_until(lambda: g.waiting, "vm.wait")
            g.print(b"two")
            g.stop()
            out, _ = p.communicate(timeout=PATIENCE_S)
            said = [json.loads(line) for line in out.splitlines()]
            self.assertEqual([(n["offset"], base64.b64decode(n["data"])) for n in said],
                             [(0, b"one"), (3, b"two")])

    def test_follow_is_safe(self):
        """On a terminal, what a guest prints is filtered, also where a line end is cut."""
        g = Guest(b"\033[2Jx\r")
        with FakeDaemon(**g.methods()) as d, Terminal(d.command("console", "demo", "--follow"),
                                                      stdin=subprocess.DEVNULL) as t:
            wait_until(lambda: g.waiting, "vm.wait")
            g.print(b"\ny\r")
            g.print(b"z\r")
            g.stop()
            self.assertEqual(t.wait(), OK)
            self.assertEqual(t.seen, b"?[2Jx\r\ny?z?")

    def test_follow_interrupted(self):
        g = Guest(b"one")
        with FakeDaemon(**g.methods()) as d, d.start("console", "demo", "--follow") as p:
            self.assertEqual(p.stdout.read(3), b"one")
            p.send_signal(signal.SIGINT)
            self.assertEqual((p.wait(PATIENCE_S), p.stderr.read()), (OK, b""))


class Type(unittest.TestCase):
    def test_text(self):
        cases = [(["hello"], b"hello"), (["hello", "--enter"], b"hello\r"), (["--enter"], b"\r"),
                 (["a\\nb"], b"a\\nb"), (["--data", "00ff0d"], b"\x00\xff\r"),
                 (["--", "--enter"], b"--enter"), (["x" * 10000], b"x" * 10000)]
        for words, typed in cases:
            with self.subTest(words=words):
                g = Guest()
                with FakeDaemon(**g.methods()) as d:
                    code, out, err = d.run("type", "demo", *words)
                    self.assertEqual((code, err), (OK, b""))
                    self.assertEqual(g.typed, typed)
                    self.assertRegex(out, rb"^[\d,]+ bytes? typed, [\d,]+ not yet read by the "
                                          rb"guest\n$")

    def test_slow_guest(self):
        g = Guest(accept=[1, 0, 2])
        with FakeDaemon(**g.methods()) as d:
            code, _, _ = d.run("type", "demo", "abcdef")
            self.assertEqual((code, g.typed), (OK, b"abcdef"))

    def test_interrupted(self):
        g = Guest(accept=[2] + [0] * 10000)
        with FakeDaemon(**g.methods()) as d, d.start("type", "demo", "abcdef") as p:
            wait_until(lambda: d.connections and len(d.connections[0].requests) > 2, "retries")
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=PATIENCE_S)
            self.assertEqual(p.returncode, INTERRUPTED)
            self.assertIn(b"interrupted", err)


class Progress(unittest.TestCase):
    """A long request, on a terminal: one line that grows and goes."""

    def slow(self, seconds):
        def add(c, params, number):
            self.params = params
            for i in range(1, 5):
                time.sleep(seconds)
                c.notify("progress", id=number, done=i << 28, total=1 << 30)
            return {"slot": "s", "kind": "anonymous", "size_bytes": 1 << 30, "mapped_bytes": 0,
                    "extents": 1, "huge": False, "hpa_first": None}
        return {"memory.slot.add": add}

    WORDS = "slot-add", "demo", "s", "--size", "1G"

    def has_progress(self):
        """hvctl asks for it only where the method has the parameter."""
        with FakeDaemon(**self.slow(0)) as d, Terminal(d.command(*self.WORDS)) as t:
            t.wait()
        return self.params.get("progress") is True

    def test_line(self):
        if not self.has_progress():
            self.skipTest("slot-add has no progress")
        with FakeDaemon(**self.slow(0.2)) as d, Terminal(d.command(*self.WORDS),
                                                         env={"NO_COLOR": "1"}) as t:
            self.assertEqual(t.wait(), OK)
            self.assertRegex(t.seen, rb"\rslot-add  \[=+>? *\]  +\d+ %  [\d.]+ [MG]iB of 1.0 GiB  "
                                     rb"[\d,.]+ [KMG]iB/s\033\[K")
            # wiped before the result
            self.assertIn(b"\r\033[Kslot ", t.seen)

    def test_quick(self):
        with FakeDaemon(**self.slow(0)) as d, Terminal(d.command(*self.WORDS),
                                                       env={"NO_COLOR": "1"}) as t:
            self.assertEqual(t.wait(), OK)
            self.assertNotIn(b"%", t.seen)

    def test_no_terminal(self):
        with FakeDaemon(**self.slow(0.1)) as d:
            code, _, err = d.run(*self.WORDS)
            self.assertEqual((code, err), (OK, b""))
            self.assertNotIn("progress", self.params)


if __name__ == "__main__":
    main()
