# SPDX-License-Identifier: MIT
"""hvd.conf and the command line over it; what a reload changes; hvd --check."""
import os
import signal
import subprocess
import tempfile
import time
import unittest

from daemon_client import FLAT_SPIN, HVD, PATIENCE_S, Daemon


def run(*options):
    r = subprocess.run([HVD, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=PATIENCE_S)
    return r.returncode, r.stdout, r.stderr


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.conf = os.path.join(self.folder.name, "hvd.conf")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, text):
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(text)

    def test_arrives_and_command_line_wins(self):
        self.write("[engine]\nprocessors = 3\nmemory = 64M\ntlb = none\nunsafe-hooks = yes\n"
                   "[limits]\nconnections = 7\noutput = 64K\nclient-timeout = 1234\n"
                   "waits-per-connection = 5\n[daemon]\nsocket = /nonexistent/socket\n")
        with Daemon("--config", self.conf, "--processors", "4", "--client-timeout",
                    "4321") as daemon, daemon.client() as c:
            info = c.call("daemon.info")
            self.assertEqual(info["socket"], daemon.path)
            self.assertEqual(info["engine"]["processors"], 4)
            self.assertEqual(info["engine"]["tlb_geometry"], "none")
            self.assertTrue(info["unsafe_hooks"])
            limits = info["limits"]
            self.assertEqual([limits[k] for k in ("memory_bytes", "connections", "output_bytes",
                                                  "client_timeout_ms", "waits_per_connection")],
                             [64 << 20, 7, 64 << 10, 4321, 5])

    def test_mistakes(self):
        path = os.path.join(self.folder.name, "s")
        for text, said in (("[engine]\n\nprocesors = 2\n", ":3: [engine] has no key procesors"),
                           ("[engine]\nprocessors = 99\n", ":2: processors: 99 is not between"),
                           ("[limit]\nconnections = 9\n", ":2: there is no section [limit]"),
                           ("what is this\n", ":1: is neither")):
            for options in ["--check"], []:
                with self.subTest(text=text, options=options):
                    self.write(text)
                    code, out, err = run("--config", self.conf, "--socket", path, *options)
                    self.assertEqual((code, out), (2, ""))
                    self.assertIn(self.conf + said, err)
                    self.assertFalse(os.path.exists(path))
        code, out, err = run("--check", "--config", self.conf + "x")
        self.assertEqual((code, out), (2, ""))
        self.assertIn(f"{self.conf}x: No such file", err)

    def test_check(self):
        self.write("[engine]\nengine = soft\n[access]\naccess = roles\n"
                   "observe-group = root\noperate-group = hvd-nobody-has-this\nadmin-group =\n")
        code, out, _ = run("--check", "--config", self.conf)
        self.assertEqual(code, 0)
        self.assertIn(f"{self.conf}: valid", out)
        self.assertIn("engine soft: would be used\n  why: ", out)
        self.assertIn("engine soft is taken: it was asked for\n", out)
        self.assertIn("role observe: root\n", out)
        self.assertRegex(out, "role operate: hvd-nobody-has-this .does not exist")
        self.assertIn("role admin: no group", out)
        code, out, err = run("--check", "--config", self.conf, "--engine", "none")
        self.assertEqual(code, 1)
        self.assertIn("no engine can be used", out)
        self.assertIn("there is no engine none", err)
        # options that no engine takes are found, too
        code, out, err = run("--check", "--config", self.conf, "--tlb", "none-such")
        self.assertEqual(code, 1)
        self.assertIn("engine soft is not available: it does not take an option as it is: one of "
                      "tlb; see", err)
        # an engine that is not available is told with its reason and what to do about it
        _, out, _ = run("--check", "--config", self.conf)
        self.assertRegex(out, r"engine vmx: (available|not available\n  why: .+)")

    def test_check_serves_nothing(self):
        path = os.path.join(self.folder.name, "s")
        self.assertEqual(run("--check", "--socket", path)[0], 0)
        self.assertFalse(os.path.exists(path))


class Reload(unittest.TestCase):
    def test_reload(self):
        with tempfile.TemporaryDirectory() as folder:
            conf = os.path.join(folder, "hvd.conf")

            def write(text):
                with open(conf, "w", encoding="ascii") as f:
                    f.write(text)

            write("[limits]\nconnections = 7\n")
            daemon = Daemon("--config", conf, "--client-timeout", "9999")
            with daemon, daemon.client() as c:
                def reload(said):
                    n = daemon.log_text().count(said)
                    os.kill(daemon.process.pid, signal.SIGHUP)
                    deadline = time.monotonic() + PATIENCE_S
                    while daemon.log_text().count(said) == n:
                        self.assertLess(time.monotonic(), deadline, daemon.log_text())
                        time.sleep(0.02)
                    return c.call("daemon.info")["limits"]

                c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20, start=True)
                write("[limits]\nconnections = 9\nclient-timeout = 500\n"
                      "[engine]\nprocessors = 5\n[daemon]\nlog-level = debug\n")
                limits = reload("the configuration was reloaded")
                self.assertEqual(limits["connections"], 9)
                self.assertEqual(limits["client_timeout_ms"], 9999)  # the command line's
                log = daemon.log_text()
                self.assertIn('connections is "9" now, it was "7"', log)
                self.assertIn('processors stays "unset": "5" needs a restart', log)
                self.assertEqual(c.call("daemon.info")["engine"]["processors"], 2)
                self.assertIn("daemon.info", daemon.log_text())  # the level is in force

                # a mistake anywhere changes nothing at all
                write("[limits]\nconnections = 11\noutput = lots\n")
                limits = reload("the configuration was not reloaded")
                self.assertEqual(limits["connections"], 9)
                self.assertIn(f"{conf}:3: output: lots is not a size", daemon.log_text())

                # what is not said any more is the default again
                write("")
                limits = reload("the configuration was reloaded")
                self.assertEqual(limits["connections"], 64)

                # the bound holds for the clients that come from now on
                write("[limits]\nconnections = 1\n")
                reload("the configuration was reloaded")
                with daemon.client() as other:
                    self.assertIn(b"too many clients", other.line())
                self.assertEqual(c.call("vm.get", vm="demo")["state"]["name"], "running")


if __name__ == "__main__":
    unittest.main(verbosity=2)
