# SPDX-License-Identifier: MIT
"""The daemon as a process: its options, its socket, its signals."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from daemon_client import FLAT_SPIN, HVD, HVD_VMX, PATIENCE_S, Client, Daemon


def run(*options):
    r = subprocess.run([HVD, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=PATIENCE_S)
    return r.returncode, r.stdout, r.stderr


def why_no_vmx():
    """A part of the reason why the engine vmx can't be used here; None: perhaps it can."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    if "vmx" not in flags:
        return "/proc/cpuinfo shows no vmx flag"
    return None if os.path.exists("/dev/vmxcore") else "/dev/vmxcore is missing"


class Options(unittest.TestCase):
    def test_help_and_version(self):
        code, out, err = run("--help")
        self.assertEqual((code, err), (0, ""))
        for option in ("--socket", "--engine", "--processors", "--memory", "--vpid-limit",
                       "--quantum", "--seed", "--scatter", "--tlb", "--unsafe-hooks",
                       "--log-level"):
            self.assertIn(option, out)
        self.assertTrue(all(len(line) <= 100 for line in out.splitlines()))
        code, out, err = run("--version")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^hvd \d+\.\d+\.\d+\n$")

    def test_wrong_options(self):
        for options, said in ((["--processors", "0"], "processors"),
                              (["--processors", "65"], "64"),
                              (["--processors", "two"], "two"),
                              (["--processors", "-1"], "-1"),
                              (["--memory", "1Q"], "1Q"),
                              (["--memory", "99999999999999999999"], "memory"),
                              (["--vpid-limit", "65536"], "65535"),
                              (["--seed", "x"], "seed"),
                              (["--tlb", "x" * 100], "tlb"),
                              (["--log-level", "loud"], "loud"),
                              (["--no-such-option"], "no-such-option"),
                              (["--socket"], "socket"),
                              (["--socket", "/" + "x" * 200], "107"),
                              (["demo"], "demo")):
            with self.subTest(options=options):
                code, out, err = run(*options)
                self.assertEqual((code, out), (2, ""))
                self.assertIn(said, err)

    def test_can_not_start(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            for options, said in ((["--socket", path, "--engine", "none"], "there is no engine"),
                                  (["--socket", path, "--tlb", "none-such"], "soft"),
                                  (["--socket", folder + "/a/b/c"], folder)):
                with self.subTest(options=options):
                    code, out, err = run(*options)
                    self.assertEqual((code, out), (1, ""))
                    self.assertIn(said, err)
                    self.assertEqual(os.listdir(folder), [])

    def test_engine_that_is_chosen(self):
        """auto: vmx where it can be used, else soft; and it says why, to whom asks and in the log."""
        lacks = why_no_vmx()
        with Daemon(engine="auto") as daemon, daemon.client() as c:
            info = c.call("daemon.info")
            vmx, soft = info["engines"]
            self.assertEqual((vmx["name"], soft["name"]), ("vmx", "soft"))
            self.assertEqual(info["engine"], soft if soft["taken"] else vmx)
            self.assertNotEqual(vmx["taken"], soft["taken"])
            self.assertEqual(vmx["taken"], vmx["available"])
            if lacks:
                self.assertTrue(soft["taken"])
                self.assertIn(lacks, vmx["reason"])
            if soft["taken"]:
                self.assertEqual(info["engine_choice"],
                                 "auto: vmx is not available: " + vmx["reason"])
                self.assertIn(f"hvd: engine vmx is not available: {vmx['reason']}; "
                              f"{vmx['advice']}\n", daemon.log_text())
            self.assertRegex(daemon.log_text(), re.escape(
                f"on engine {info['engine']['name']}, ") + r"\d+ processors: " + re.escape(
                f"{info['engine']['reason']}; {info['engine_choice']}\n"))

    def test_engine_with_a_device(self):
        """auto is vmx; what it does not take makes it soft, with the reason, or is an error."""
        def start(*options):
            with Daemon(*options, engine="auto", program=HVD_VMX) as daemon, daemon.client() as c:
                return c.call("daemon.info"), daemon.log_text()

        info, log = start()
        self.assertEqual(info["engine"]["name"], "vmx")
        self.assertEqual([e["taken"] for e in info["engines"]], [True, False])
        self.assertIn("on engine vmx, 4 processors: ", log)
        info, log = start("--unsafe-hooks")
        self.assertEqual(info["engine"]["name"], "soft")
        self.assertIn("unsafe-hooks", info["engines"][0]["reason"])
        self.assertIn("unsafe-hooks", info["engine_choice"])
        self.assertIn("hvd: warning: engine vmx is not available: ", log)
        with tempfile.TemporaryDirectory() as folder:
            r = subprocess.run([HVD_VMX, "--socket", os.path.join(folder, "s"), "--engine", "vmx",
                                "--processors", "64"], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, 1)
        self.assertIn("engine vmx is not available: it does not take an option as it is: one of "
                      "processors; ", r.stderr)

    def test_engine_that_is_asked_for(self):
        """It, or none: with the reason, and what to do about it."""
        with Daemon() as daemon, daemon.client() as c:
            self.assertEqual(c.call("daemon.info")["engine_choice"], "it was asked for")
            vmx = c.call("engine.list")["engines"][0]
            self.assertNotIn("engine vmx", daemon.log_text())
        if vmx["available"]:
            self.skipTest("vmx can be used here")
        with tempfile.TemporaryDirectory() as folder:
            code, out, err = run("--socket", os.path.join(folder, "s"), "--engine", "vmx")
            self.assertEqual((code, out), (1, ""))
            self.assertIn(f"hvd: error: engine vmx is not available: {vmx['reason']}; "
                          f"{vmx['advice']}\n", err)
            self.assertEqual(os.listdir(folder), [])

    def test_options_arrive(self):
        with Daemon("--processors", "3", "--memory", "64M", "--vpid-limit", "9", "--scatter",
                    "--tlb", "none") as daemon, daemon.client() as c:
            info = c.call("daemon.info")
            self.assertEqual(info["engine"]["processors"], 3)
            self.assertEqual(info["limits"]["memory_bytes"], 64 << 20)
            self.assertEqual(info["socket"], daemon.path)
            self.assertEqual(info["pid"], daemon.process.pid)
            self.assertEqual(info["engine"]["tlb_geometry"], "none")
            c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20)
            vpids = c.call("vpid.list")["vpids"]
            self.assertTrue(all(v["pool_limit"] == 9 for v in vpids))


class Signals(unittest.TestCase):
    def test_orderly_end(self):
        """With a VM that runs and a client that waits: told, and no socket is left."""
        for how in signal.SIGTERM, signal.SIGINT:
            daemon = Daemon()
            with daemon:
                c = daemon.client()
                c.create_flat("spin", FLAT_SPIN, start=True)
                c.send(b'{"jsonrpc":"2.0","id":1,"method":"vm.wait","params":{"vm":"spin"}}\n')
                with daemon.client() as other:  # the wait has arrived when this is answered
                    other.call("vm.list")
                    other.call("vm.list")
                self.assertEqual(daemon.end(how), 0)
                self.assertFalse(os.path.exists(daemon.path))
                self.assertEqual(c.reply()["error"]["data"]["kind"], "cancelled")
                self.assertIsNone(c.line())
                c.close()

    def test_killed(self):
        """The socket of a daemon that was killed does not stop the next."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "hvd.sock")
            first = Daemon(path=path).start()
            self.assertNotEqual(first.end(signal.SIGKILL), 0)
            first.log.close()
            shutil.rmtree(first.dir)
            self.assertTrue(os.path.exists(path))
            with Daemon(path=path) as second, second.client() as c:
                c.call("vm.list")
                # and a third does not take it from the second
                code, _, err = run("--socket", path, "--engine", "soft")
                self.assertEqual(code, 1)
                self.assertIn("another daemon", err)
                c.call("vm.list")

    def test_not_a_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "precious")
            with open(path, "w", encoding="ascii") as f:
                f.write("data")
            code, _, err = run("--socket", path, "--engine", "soft")
            self.assertEqual(code, 1)
            self.assertIn("not a socket", err)
            with open(path, encoding="ascii") as f:
                self.assertEqual(f.read(), "data")

    def test_notifies(self):
        """systemd is told when the socket is there, and when it ends."""
        with tempfile.TemporaryDirectory() as folder:
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notify.bind(os.path.join(folder, "notify"))
            notify.settimeout(PATIENCE_S)
            daemon = Daemon()
            daemon.start({"NOTIFY_SOCKET": os.path.join(folder, "notify")})
            with daemon.client() as c:
                c.call("vm.list")
            self.assertIn(b"READY=1", notify.recv(4096))
            daemon.__exit__(None, None, None)
            self.assertIn(b"STOPPING=1", notify.recv(4096))
            notify.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
