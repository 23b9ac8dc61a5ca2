# SPDX-License-Identifier: MIT
"""hvd as an administrator has it: installed, under systemd, used by others. Run by
systemd_boot.py inside a container of its own, in the order of the names."""
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = os.environ["HVD_BUILD"]
PATIENCE_S = 60
SOCKET = "/run/hvd/hvd.sock"
HELLO = os.path.join(BUILD, "guests", "hello64.elf")
CONFIG = "/etc/hvd/hvd.conf"


# What the engines need, and what nobody is to have, tried from inside the unit's sandbox.
SANDBOX = """
import ctypes, errno, fcntl, json, mmap, os, resource, threading
libc = ctypes.CDLL(None, use_errno=True)
def tried(fn):
    try:
        fn()
        return ""
    except OSError as e:
        return errno.errorcode[e.errno]
def call(fn, *args):
    if fn(*args) < 0:
        raise OSError(ctypes.get_errno(), "")
def memfd():
    fd = os.memfd_create("ram", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4 << 20)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    mmap.mmap(fd, 4 << 20, mmap.MAP_SHARED)[:2] = b"ok"
def lock():
    m = mmap.mmap(-1, 32 << 20)
    call(libc.mlock, ctypes.byref(ctypes.c_char.from_buffer(m)), ctypes.c_size_t(32 << 20))
def threads():
    go = threading.Event()
    each = [threading.Thread(target=go.wait) for _ in range(200)]
    [t.start() for t in each], go.set(), [t.join() for t in each]
GET_INFO = 0x8040b700
null = os.open("/dev/null", os.O_RDWR)
done = {name: tried(fn) for name, fn in {
    "memfd": memfd, "mlock": lock, "threads": threads,
    "huge": lambda: mmap.mmap(-1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000),
    "bind": lambda: os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]),
    "batch": lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
    "ioctl": lambda: fcntl.ioctl(null, GET_INFO, bytes(64)),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "module": lambda: call(libc.syscall, 313, null, b"", 0),
    "executable": lambda: mmap.mmap(-1, 4096, prot=7)}.items()}
done["memlock"] = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
with open("/var/lib/hvd/sandbox", "w") as f:
    json.dump(done, f)
"""


def run(*words, user=None, status=0, **options):
    """Its output; the exit status is part of what is expected."""
    if user:
        words = ("runuser", "-u", user, "--", *words)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False, text=True,
                          **options)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(words)}: status {done.returncode}, not {status}\n"
                             f"{done.stdout}\n{journal_text()}")
    return done.stdout


def hvctl(*words, **options):
    return run("hvctl", *words, **options)


def show(name, unit="hvd.service"):
    return run("systemctl", "show", "--value", "-p", name, unit).strip()


def journal_text():
    done = subprocess.run(["journalctl", "--no-pager", "-n", "60", "-u", "hvd.service"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
    return done.stdout


def journal(**fields):
    """The entries of hvd that have these fields."""
    subprocess.run(["journalctl", "--sync"], check=False)
    words = [f"{name}={value}" for name, value in fields.items()]
    text = run("journalctl", "--no-pager", "-o", "json", "-u", "hvd.service", *words)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def eventually(what, check):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s\n{journal_text()}")


def may_raise_memlock():
    """In a process of its own: a limit that was raised stays so."""
    return not subprocess.run(["prlimit", "--memlock=unlimited:unlimited", "true"], check=False,
                              stderr=subprocess.DEVNULL).returncode


def main_pid():
    return int(show("MainPID"))


def process_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


class Systemd(unittest.TestCase):
    maxDiff = None

    def test_01_install(self):
        run("systemd-sysusers")
        run("systemd-tmpfiles", "--create", "--prefix=/run/hvd")
        run("systemctl", "daemon-reload")
        run("getent", "passwd", "hvd")
        for group in ("hvd-observe", "hvd-operate", "hvd-admin"):
            run("getent", "group", group)
        for unit in ("hvd.service", "hvd.socket"):
            self.assertEqual(run("systemd-analyze", "verify", unit), "")
        for name, group in (("ada", "hvd-operate"), ("olga", "hvd-observe"), ("nina", None)):
            run("useradd", "--no-create-home", "--shell", "/bin/sh",
                *(("--groups", group) if group else ()), name)
        self.assertIn("soft", run("hvd", "--check"))

    def test_02_start(self):
        run("systemctl", "start", "hvd")
        self.assertEqual(show("ActiveState"), "active")
        self.assertEqual(show("ActiveState", "hvd.socket"), "active")
        self.assertRegex(show("StatusText"), "^Engine soft; 0 VMs, 0 clients")
        status = process_status(main_pid())
        self.assertEqual(status["Uid"].split()[0], run("id", "-u", "hvd").strip())
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(os.stat(SOCKET).st_mode & 0o777, 0o666)

    def test_03_a_vm(self):
        # it may have ended by the time the reply is made
        self.assertIn(" on soft", hvctl("create", "demo", HELLO, "--memory", "4M", "--run"))
        self.assertIn("exited", hvctl("wait", "demo", "--timeout", "60000"))
        self.assertIn("hello", hvctl("console", "demo").lower())
        eventually("the VM shows", lambda: "1 VMs" in show("StatusText"))

    def test_04_roles(self):
        self.assertIn("demo", hvctl("list", user="olga"))
        self.assertIn("needs the role operate", hvctl("start", "demo", user="olga", status=1))
        hvctl("start", "demo", user="ada")
        hvctl("wait", "demo", "--timeout", "60000", user="ada")
        hvctl("delete", "demo", user="ada", status=1)
        self.assertIn("has no role", hvctl("list", user="nina", status=1))
        uid = run("id", "-u", "ada").strip()
        denied = journal(HVD_PEER_UID=uid, PRIORITY=4)
        self.assertTrue(denied, journal_text())
        self.assertIn("denied", denied[-1]["MESSAGE"])
        self.assertEqual(denied[-1]["HVD_METHOD"], "vm.delete")

    def test_05_memory_files(self):
        """What the system call filter must let through: shared files, seals, huge ranges."""
        with tempfile.NamedTemporaryFile(dir="/var/tmp") as f:
            f.write(b"shared" + bytes((2 << 20) - 6))
            f.flush()
            hvctl("slot-add", "demo", "shared", "--size", "2M", "--file", f.name)
            hvctl("map", "demo", "--gpa", "1G", "--size", "2M", "--slot", "shared")
            self.assertIn("shared", hvctl("read", "demo", "--gpa", "1G", "--size", "16"))
            hvctl("write", "demo", "--gpa", "1G", "--text", "SHARED")
            f.seek(0)
            self.assertEqual(f.read(6), b"SHARED")
        fd = os.memfd_create("slot", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, 4096)
        hvctl("slot-add", "demo", "memfd", "--size", "4K", "--file", f"/proc/self/fd/{fd}",
              pass_fds=(fd,))
        os.close(fd)
        hvctl("slot-add", "demo", "huge", "--size", "64M", "--huge")

    def test_06_journal(self):
        created = journal(HVD_VM="demo", HVD_METHOD="vm.create")
        self.assertTrue(created, journal_text())
        self.assertEqual(created[0]["HVD_PEER_UID"], "0")
        self.assertGreater(int(created[0]["HVD_PEER_PID"]), 0)
        self.assertTrue(created[0]["HVD_REQUEST"])
        self.assertEqual(created[0]["PRIORITY"], "6")

    def test_07_reload(self):
        os.makedirs(os.path.dirname(CONFIG))
        with open(CONFIG, "w", encoding="ascii") as f:
            f.write("[daemon]\nlog-level = debug\n")
        pid = main_pid()
        run("systemctl", "reload", "hvd")
        self.assertEqual(main_pid(), pid)
        hvctl("info")
        eventually("debug lines come",
                   lambda: [e for e in journal(HVD_METHOD="daemon.info") if e["PRIORITY"] == "7"])
        with open(CONFIG, "w", encoding="ascii") as f:
            f.write("[daemon]\nlog-level = shout\n")
        run("systemctl", "reload", "hvd")
        eventually("the mistake is told", lambda: "log-level" in journal_text())
        self.assertEqual(main_pid(), pid)
        os.unlink(CONFIG)
        run("systemctl", "reload", "hvd")
        self.assertEqual(show("ActiveState"), "active")

    def test_08_restart(self):
        pid = main_pid()
        run("systemctl", "restart", "hvd")
        self.assertNotEqual(main_pid(), pid)
        self.assert_defined()

    def assert_defined(self):
        """The definition is there; nothing of its run is."""
        if not os.path.isdir("/var/lib/hvd"):
            return
        listed = json.loads(hvctl("list", "--json"))["vms"]
        self.assertEqual([(v["vm"], v["state"]["name"], v["reason"]) for v in listed],
                         [("demo", "shutoff", "created")])
        hvctl("start", "demo")
        self.assertIn("exited", hvctl("wait", "demo", "--timeout", "60000"))

    def test_09_killed(self):
        pid, before = main_pid(), int(show("NRestarts"))
        os.kill(pid, signal.SIGKILL)
        eventually("it is started anew",
                   lambda: int(show("NRestarts")) > before and main_pid() not in (0, pid))
        self.assert_defined()

    def test_10_watchdog(self):
        os.makedirs("/etc/systemd/system/hvd.service.d", exist_ok=True)
        with open("/etc/systemd/system/hvd.service.d/watchdog.conf", "w", encoding="ascii") as f:
            f.write("[Service]\nWatchdogSec=2\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "hvd")
        pid, before = main_pid(), int(show("NRestarts"))
        time.sleep(5)  # more than two periods: it says that it is alive
        self.assertEqual(main_pid(), pid)
        os.kill(pid, signal.SIGSTOP)
        eventually("the watchdog ends it",
                   lambda: int(show("NRestarts")) > before and main_pid() not in (0, pid))
        self.assertIn("watchdog", run("journalctl", "--no-pager", "-u", "hvd.service",
                                      "_COMM=systemd").lower())
        self.assert_defined()

    def test_11_activation(self):
        run("systemctl", "stop", "hvd.service")
        self.assertEqual(show("ActiveState"), "inactive")
        self.assertIn("soft", hvctl("info"))  # the socket starts it
        self.assertEqual(show("ActiveState"), "active")

    def test_12_security(self):
        """systemd's own score of the sandbox: 0 is closed, 10 is open."""
        last = run("systemd-analyze", "security", "--no-pager", "hvd.service").splitlines()[-1]
        score = float(last.split(":")[1].split()[0])
        self.assertLess(score, 2.0, last)

    def test_13_sandbox(self):
        """The unit as it is, but for the program: what the engines need, and no more."""
        with open("/opt/hvd-sandbox.py", "w", encoding="ascii") as f:
            f.write(SANDBOX)
        drop_in = "/run/systemd/system/hvd.service.d/sandbox.conf"
        os.makedirs(os.path.dirname(drop_in), exist_ok=True)
        with open(drop_in, "w", encoding="ascii") as f:
            f.write("[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\n"
                    "ExecStart=/usr/bin/python3 /opt/hvd-sandbox.py\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "stop", "hvd.service")
        run("systemctl", "start", "hvd.service")
        os.unlink(drop_in)
        run("systemctl", "daemon-reload")
        with open("/var/lib/hvd/sandbox", encoding="ascii") as f:
            done = json.load(f)
        os.unlink("/var/lib/hvd/sandbox")
        if done["huge"] == "ENOMEM":  # allowed, and there are none
            done["huge"] = ""
        self.assertEqual(show("LimitMEMLOCK"), "infinity")
        if not may_raise_memlock():  # nor may the container's systemd: it gives what it has
            done.update(memlock=resource.RLIM_INFINITY, mlock="")
        self.assertEqual(done, {
            "memfd": "", "mlock": "", "threads": "", "huge": "", "bind": "", "batch": "",
            "ioctl": "ENOTTY", "memlock": -1, "real time": "EPERM", "module": "EPERM",
            "executable": "EPERM"})

    def test_14_stop(self):
        run("systemctl", "stop", "hvd.socket", "hvd.service")
        self.assertEqual(show("ActiveState"), "inactive")
        self.assertEqual(show("Result"), "success")
        self.assertFalse(os.path.exists(SOCKET))
        hvctl("info", status=3)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=False)
