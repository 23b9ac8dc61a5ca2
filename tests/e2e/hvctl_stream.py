# SPDX-License-Identifier: MIT
"""events, trace, watch, progress and Ctrl-C: against a daemon that says what it is told to."""
from hvctl_fake import *
from hvctl_harness import *

OK, REFUSED, USAGE, NO_DAEMON, LOCAL, INTERRUPTED = 0, 1, 2, 3, 5, 6
LATER = FakeDaemon.LATER
UTC = {"TZ": "UTC"}
NOON_NS = 1_790_000_000_000_000_000  # Monday 2026-09-21 14:13:20 UTC


def event(seq, kind, **more):
    return {"subscription": 1, "seq": seq, "time_ns": NOON_NS + seq * 1_500_000_000, "type": kind,
            **more}


def state(name, number):
    return {"name": name, "libvirt": number}


EVENTS = [
    ("event", event(812, "vm.created", vm="demo")),
    ("event", event(813, "vm.state", vm="demo", state=state("running", 1), reason="started")),
    ("gap", {"subscription": 1, "missed": 3, "first_seq": 814, "next_seq": 817}),
    ("event", event(817, "vm.state", vm="demo", state=state("shutoff", 5), reason="exited",
                    exit_status=3)),
    ("event", event(818, "vpid.pressure", processor=1, generation=7)),
    ("event", event(819, "vm.unimplemented", vm="a-longer-name", vcpu=0, rip="0x100010",
                    detail="fsin")),
    ("gap", {"subscription": 1, "missed": 1, "first_seq": 820, "next_seq": 821}),
    ("event", event(821, "daemon.reloaded")),
]
EVENT_LINES = """\
--- Monday 2026-09-21 ---
   812  14:33:38.000  vm.created          demo
   813  14:33:39.500  vm.state            demo          running (started)
--- 3 events missed: 814 to 816 ---
   817  14:33:45.500  vm.state            demo          shutoff (exited with status 3)
   818  14:33:47.000  vpid.pressure       -             processor 1, generation 7
   819  14:33:48.500  vm.unimplemented    a-longer-name  fsin, vCPU 0, rip 0x100010
--- 1 event missed: 820 ---
   821  14:33:51.500  daemon.reloaded     -
"""


def subscribe(notifications, then=None, **result):
    """A method that replies, and sends these."""
    def method(c, params, number):
        c.reply(number, {"subscription": 1, **result})
        for name, n in notifications:
            c.notify(name, **n)
        if then:
            then(c)
        return LATER
    return method


def end(c):
    c.notify("ended", subscription=1, reason="its VM was deleted")


class Events(unittest.TestCase):
    def test_lines(self):
        methods = {"events.subscribe": subscribe(EVENTS, end, next_seq=822, oldest_seq=1)}
        with FakeDaemon(**methods) as d:
            code, out, err = d.run("events", "--type", "vm.state", "--type", "vm.created",
                                   "--since", "812", env=UTC)
            self.assertEqual(out.decode(), EVENT_LINES)
            self.assertEqual(err, b"hvctl: the daemon ended the subscription: its VM was "
                                  b"deleted\n")
            self.assertEqual(code, REFUSED)
            self.assertEqual(d.connections[0].requests, [
                ("events.subscribe", {"types": ["vm.state", "vm.created"], "since": 812})])

    def test_count(self):
        """Gaps do not count; what comes behind the last is not shown."""
        methods = {"events.subscribe": subscribe(EVENTS, next_seq=822, oldest_seq=1)}
        with FakeDaemon(**methods) as d:
            code, out, err = d.run("events", "demo", "--count", "3", env=UTC)
            self.assertEqual((code, err), (OK, b""))
            self.assertEqual(out.decode(), "".join(EVENT_LINES.splitlines(True)[:5]))
            self.assertEqual(d.connections[0].requests[0][1], {"vm": "demo"})

    def test_json(self):
        """The params of each, as they came, a line each."""
        methods = {"events.subscribe": subscribe(EVENTS, end, next_seq=822, oldest_seq=1)}
        with FakeDaemon(**methods) as d:
            code, out, _ = d.run("--json", "events")
            sent = [n for _, n in EVENTS] + [{"subscription": 1, "reason": "its VM was deleted"}]
            self.assertEqual(out.decode(), "".join(
                json.dumps(n, separators=(",", ":")) + "\n" for n in sent))
            self.assertEqual(code, REFUSED)

    def test_interrupt(self):
        methods = {"events.subscribe": subscribe(EVENTS[:1], next_seq=822, oldest_seq=1)}
        with FakeDaemon(**methods) as d, d.start("events") as p:
            p.stdout.readline()
            self.assertIn(b"vm.created", p.stdout.readline())
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=PATIENCE_S)
            self.assertEqual((p.returncode, out, err), (OK, b"", b""))

    def test_reader_goes(self):
        """'| head -1' ends it, though no further event comes."""
        methods = {"events.subscribe": subscribe(EVENTS[:1], next_seq=822, oldest_seq=1)}
        with FakeDaemon(**methods) as d, d.start("events") as p:
            p.stdout.readline()
            p.stdout.close()
            self.assertEqual((p.wait(PATIENCE_S), p.stderr.read()), (OK, b""))

    def test_connection_lost(self):
        methods = {"events.subscribe": subscribe(EVENTS[:1], lambda c: c.close(), next_seq=1,
                                                 oldest_seq=1)}
        with FakeDaemon(**methods) as d:
            code, out, err = d.run("events")
            self.assertEqual(code, NO_DAEMON)
            self.assertIn(b"vm.created", out)
            self.assertIn(b"closed the connection", err)

    def test_on_a_terminal(self):
        """Long texts are continued in their column, within 100 columns."""
        report = "vCPU 0 wrote to guest-physical memory that nothing is mapped at, " * 3
        said = [("event", event(9, "vm.unexpected-exit", vm="demo", state=state("crashed", 6),
                                reason="unexpected", report=report.strip()))]
        methods = {"events.subscribe": subscribe(said, end, next_seq=1, oldest_seq=1)}
        with FakeDaemon(**methods) as d, Terminal(d.command("events"),
                                                  env={**UTC, "NO_COLOR": "1"}) as t:
            self.assertEqual(t.wait(), REFUSED)
            self.assertNotIn(b"\033", t.seen)
            lines = t.seen.decode().splitlines()
            self.assertTrue(lines[2].startswith(" " * 56 + "guest-physical"), lines)
            self.assertLessEqual(max(map(len, lines)), 100)


RECORDS = [
    {"seq": 1, "guest_time": 12480112, "kind": "exit", "vcpu": 0, "processor": 0, "vpid": 1,
     "exit": "io-instruction", "exit_reason": 30, "rip": "0x100123", "qualification": "0x3f80008"},
    {"seq": 2, "guest_time": 12480113, "kind": "exit", "vcpu": 0, "processor": 0,
     "exit": "cpuid", "exit_reason": 10, "rip": "0x100125", "qualification": "0x0"},
    {"seq": 3, "guest_time": 12480114, "kind": "violation", "vcpu": 1, "processor": 0,
     "exit": "ept-violation", "exit_reason": 48, "rip": "0x100130", "qualification": "0x1aa",
     "gpa": "0x400000", "gva": "0x401000"},
    {"seq": 4, "guest_time": 12480115, "kind": "invalidation", "processor": 1,
     "invalidation": "invept-single-context", "cause": "shootdown", "ep4ta": "0x12000"},
    {"seq": 5, "guest_time": 12480116, "kind": "invalidation", "processor": 0, "vpid": 7,
     "vcpu": 0, "invalidation": "invvpid-individual-address", "cause": "request",
     "gva": "0x400000"},
]
TRACE_LINES = """\
     1     12,480,112     0  io-instruction    0x100123    in 1 byte, port 0x3f8
     2     12,480,113     0  cpuid             0x100125
     3     12,480,114     1  ept-violation     0x100130    write on r-x; gpa 0x400000, gva 0x401000
     4     12,480,115     -  INVEPT single-context, EP4TA 0x12000; shootdown, processor 1
--- 37 records missed: 5 to 41 ---
     5     12,480,116     0  INVVPID individual-address, VPID 7, gva 0x400000; request, processor 0
"""


def traced(*parts):
    return [("trace", {"subscription": 1, "vm": "demo", "records": p}) if isinstance(p, list)
            else ("gap", p) for p in parts]


GAP = {"subscription": 1, "missed": 37, "first_seq": 5, "next_seq": 42}


class Trace(unittest.TestCase):
    def methods(self, *parts):
        return {"trace.subscribe": subscribe(traced(*parts), end, vm="demo", buffer_records=4096)}

    def test_lines(self):
        with FakeDaemon(**self.methods(RECORDS[:4], GAP, RECORDS[4:])) as d:
            code, out, _ = d.run("trace", "demo", "--kind", "exit", "--exit", "cpuid", "--vcpu",
                                 "0")
            self.assertEqual(out.decode(), TRACE_LINES)
            self.assertEqual(code, REFUSED)
            self.assertEqual(d.connections[0].requests[0][1], {
                "vm": "demo", "kinds": ["exit"], "exits": ["cpuid"], "vcpu": 0})

    def test_host_time(self):
        """Where the engine can't observe guest time: the host's, in seconds."""
        record = {**RECORDS[1], "guest_time": None, "time_ns": 864000123456789}
        early = {**RECORDS[1], "guest_time": None, "time_ns": 5000}
        with FakeDaemon(**self.methods([record, early])) as d:
            _, out, _ = d.run("trace", "demo")
            self.assertEqual(out.decode(), """\
     2  864000.123456     0  cpuid             0x100125
     2       0.000005     0  cpuid             0x100125
""")

    def test_count(self):
        """In the middle of a notification, too."""
        with FakeDaemon(**self.methods(RECORDS[:2], RECORDS[2:])) as d:
            code, out, err = d.run("trace", "demo", "--count", "3")
            self.assertEqual((code, err), (OK, b""))
            self.assertEqual(out.decode(), "".join(TRACE_LINES.splitlines(True)[:3]))

    def test_json(self):
        with FakeDaemon(**self.methods(RECORDS[:2], GAP)) as d:
            _, out, _ = d.run("trace", "demo", "--json")
            lines = [json.loads(line) for line in out.decode().splitlines()]
            self.assertEqual(lines[0]["records"], RECORDS[:2])
            self.assertEqual(lines[1], GAP)

    def test_count_is_checked(self):
        for words in (["trace", "demo", "--count", "0"], ["trace", "demo", "--count", "many"],
                      ["events", "--count", "-1"], ["tlb", "demo", "--count", "3"],
                      ["stats", "--watch=0"], ["stats", "--watch=x"], ["tlb", "demo", "--watch=9h"],
                      ["trace", "demo", "--kind", "entry"], ["attach", "demo", "--escape", "ab"],
                      ["attach", "demo", "--json"], ["type", "demo"],
                      ["type", "demo", "a", "b"], ["type", "demo", "a", "--data", "41"]):
            with self.subTest(words=words), FakeDaemon() as d:
                code, out, err = d.run(*words)
                self.assertEqual((code, out), (USAGE, b""), err)
                self.assertTrue(err.startswith(b"hvctl: "), err)


def stat(name, value, vcpu=0, unit="exits"):
    return {"name": name, "value": value, "unit": unit, "scope": "vcpu", "vm": "demo",
            "vcpu": vcpu}


def report(second, hlt, cpuid=0, skipped=0, **more):
    return ("stats", {"subscription": 1, "time_ns": NOON_NS + int(second * 1e9),
                      "skipped": skipped,
                      "stats": [stat("exit.hlt", hlt), stat("exit.cpuid", cpuid)],
                      "vcpus": [], **more})


class Watch(unittest.TestCase):
    def test_plain(self):
        """Blocks with a blank line between; totals, and what they grow by in a second."""
        said = [report(0, 1000), report(2, 13000, 3, skipped=1)]
        with FakeDaemon(**{"stats.subscribe": subscribe(said)}) as d:
            code, out, err = d.run("stats", "demo", "--watch=2", "--count", "2", env=UTC)
            self.assertEqual((code, err), (OK, b""))
            self.assertEqual(out.decode(), """\
14:13:20.000
of           counter   total  per second  unit
demo vCPU 0  exit.hlt  1,000           -  exits
1 counter at 0 left out (--all shows them)

14:13:22.000, 2.000 s later, 1 report skipped
of           counter      total  per second  unit
demo vCPU 0  exit.hlt    13,000       6,000  exits
demo vCPU 0  exit.cpuid       3         1.5  exits
""")
            self.assertEqual(d.connections[0].requests, [
                ("stats.subscribe", {"vm": "demo", "interval_ms": 2000, "tlb": False})])

    def test_started_anew(self):
        """A counter that is smaller than before belongs to another VM: no rate."""
        said = [report(0, 1000), report(1, 10)]
        with FakeDaemon(**{"stats.subscribe": subscribe(said)}) as d:
            _, out, _ = d.run("watch", "demo", "--count", "2", "--all")
            self.assertRegex(out.decode(), r"(?m)exit.hlt +10 +-  exits$")

    def test_not_observable(self):
        """What is null has no total and no rate, and is shown all the same."""
        null = {"vm": "demo", "vcpu": 0, "processor": 0, "vpid": 1, "retired": None,
                "data_lookups": None, "held": None, "capacity": None}
        said = [report(n, n, stats=[stat("retired", None)], vcpus=[null]) for n in (0, 2)]
        with FakeDaemon(**{"stats.subscribe": subscribe(said)}) as d:
            code, out, err = d.run("watch", "demo", "--tlb", "--count", "2")
            self.assertEqual((code, err), (OK, b""))
            block = out.decode().split("\n\n")[1]
            self.assertRegex(block, r"(?m)^demo vCPU 0  retired +- +-  exits$")
            self.assertIn("VPID 1: this engine can't observe its TLB\n", block)

    def test_tlb(self):
        vcpu = {"vm": "demo", "vcpu": 0, "processor": 0, "vpid": 1, "retired": 1000,
                "data_lookups": 500, "data_misses": 5, "fetch_lookups": 1000, "fetch_misses": 0,
                "walks": 5, "walk_refs_guest": 15, "walk_refs_ept": 60, "walks_faulted": 0,
                "ops_invlpg": 2, "dropped_invlpg": 4}
        later = {**vcpu, "retired": 2000, "data_lookups": 1500, "data_misses": 6, "walks": 6,
                 "walk_refs_guest": 19, "walk_refs_ept": 80, "ops_invlpg": 2}
        said = [report(0, 1, vcpus=[vcpu]), report(1, 1, vcpus=[later])]
        with FakeDaemon(**{"stats.subscribe": subscribe(said)}) as d:
            code, out, _ = d.run("tlb", "demo", "--watch", "--count", "2")
            self.assertEqual(code, OK)
            block = out.decode().split("\n\n")[1]
            for pattern in (r"^demo vCPU 0 on processor 0, VPID 1$",
                            r"^  instructions +2,000 +1,000$", r"^  data lookups +1,500 +1,000$",
                            r"^  dropped by INVLPG +2 +0 +4 +0$",
                            r"^  since then    data 99.90% hit, instructions - hit, 24.0 "
                            r"references a walk$"):
                self.assertRegex(block, "(?m)" + pattern)
            self.assertNotIn("exit.hlt", block)
            self.assertEqual(d.connections[0].requests[0][1],
                             {"vm": "demo", "interval_ms": 1000, "tlb": True})

    def test_terminal(self):
        """Redrawn in place: the cursor goes home, nothing is left of what was longer."""
        said = [report(0, 1000, 5), report(1, 1010)]
        with FakeDaemon(**{"stats.subscribe": subscribe(said)}) as d, \
                Terminal(d.command("watch", "demo"), env={"NO_COLOR": "1"}) as t:
            second = t.expect(b"\033[H", t.expect(b"\033[H"))
            t.expect(b"\033[J", second)
            self.assertNotIn(b"exit.cpuid", t.seen[second:])
            for line in t.seen[second:].split(b"\r\n")[:-1]:
                self.assertTrue(line.endswith(b"\033[K"), line)
            t.type(b"\x03")
            self.assertEqual(t.wait(), OK)

    def test_small_terminal(self):
        """What does not fit is told of; nothing scrolls."""
        many = [stat(f"exit.x{i}", i + 1) for i in range(50)]
        said = [report(0, 1, stats=many)]
        said[0][1]["stats"] = many
        with FakeDaemon(**{"stats.subscribe": subscribe(said, end)}) as d, \
                Terminal(d.command("watch", "demo"), rows=12, env={"NO_COLOR": "1"}) as t:
            t.wait()
            painted = t.seen[:t.seen.index(b"\033[J")]
            self.assertEqual(painted.count(b"\n"), 11)
            self.assertIn(b"... 42 more lines than this terminal has", painted)


class Interrupt(unittest.TestCase):
    """Ctrl-C while a request is in progress."""

    def waits(self, on_cancel):
        """vm.wait that does not end by itself; request.cancel does on_cancel."""
        waiting = []

        def wait(c, params, number):
            waiting.append(number)
            return LATER

        return {"vm.wait": wait, "request.cancel": lambda c, p, n: on_cancel(c, p, n, waiting)}

    def interrupted(self, methods, times=1):
        with FakeDaemon(**methods) as d, d.start("wait", "demo") as p:
            wait_until(lambda: d.connections and d.connections[0].requests, "a request")
            p.send_signal(signal.SIGINT)
            if times > 1:
                wait_until(lambda: len(d.connections[0].requests) > 1, "request.cancel")
                p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=PATIENCE_S)
            return p.returncode, out, err, d.connections[0].requests

    def test_cancelled(self):
        def cancel(c, params, number, waiting):
            self.assertEqual(params, {"id": waiting[0]})
            c.send({"id": waiting[0], "error": {"code": -32015, "message": "vm.wait: cancelled",
                                                "data": {"kind": "cancelled"}}})
            return {"found": True}
        code, out, err, requests = self.interrupted(self.waits(cancel))
        self.assertEqual((code, out, err), (INTERRUPTED, b"", b"hvctl: interrupted\n"))
        self.assertEqual([m for m, _ in requests], ["vm.wait", "request.cancel"])

    def test_done_nevertheless(self):
        """The answer to the cancellation first; what was done is shown."""
        def cancel(c, params, number, waiting):
            c.reply(number, {"found": True})
            c.reply(waiting[0], {"vm": "demo", "state": state("shutoff", 5), "reason": "user"})
            return LATER
        code, out, err, _ = self.interrupted(self.waits(cancel))
        self.assertEqual((code, out, err), (OK, b"demo: shutoff (user)\n", b""))

    def test_daemon_cannot(self):
        def cancel(c, params, number, waiting):
            raise Refused("unsupported", "no")
        code, _, err, _ = self.interrupted(self.waits(cancel))
        self.assertEqual((code, err), (INTERRUPTED,
                                       b"hvctl: interrupted; the daemon goes on with it\n"))

    def test_twice(self):
        """A daemon that does not answer holds nobody."""
        code, _, _, _ = self.interrupted(self.waits(lambda *_: LATER), times=2)
        self.assertEqual(code, -signal.SIGINT)

    def test_ignored(self):
        """As nohup and shells without job control ask for."""
        import threading
        methods = self.waits(lambda *_: LATER)
        with FakeDaemon(**methods) as d, \
                d.start("wait", "demo", preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_IGN)) as p:
            wait_until(lambda: d.connections and d.connections[0].requests, "a request")
            p.send_signal(signal.SIGINT)
            threading.Timer(0.2, d.connections[0].reply, (1, {
                "vm": "demo", "state": state("shutoff", 5), "reason": "user"})).start()
            self.assertEqual(p.wait(PATIENCE_S), OK)
            self.assertEqual(len(d.connections[0].requests), 1)


class Replies(unittest.TestCase):
    def test_others_are_not_mistaken(self):
        """A notification and a reply of another id stand before the one that is waited for."""
        def listing(c, params, number):
            c.notify("event", seq=1)
            c.reply(number + 77, {"vms": [{"vm": "wrong"}]})
            return {"vms": []}
        with FakeDaemon(**{"vm.list": listing}) as d:
            self.assertEqual(d.run("--json", "list"), (OK, b'{"vms":[]}\n', b""))

    def test_error_without_id(self):
        """The daemon could not read the request: its error is the answer."""
        def listing(c, params, number):
            c.send({"id": None, "error": {"code": -32700, "message": "not JSON",
                                          "data": {"kind": "parse"}}})
            return LATER
        with FakeDaemon(**{"vm.list": listing}) as d:
            code, _, err = d.run("list")
            self.assertEqual((code, err), (REFUSED, b"hvctl: not JSON\n"))


if __name__ == "__main__":
    main()
