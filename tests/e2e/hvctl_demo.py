# SPDX-License-Identifier: MIT
"""The demo tells its story to the end, and leaves nothing behind, interrupted or not."""
import signal

from hvctl_harness import *

DEMO = os.path.join(SOURCE, "tools", "demo")


def processes_naming(text):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if text.encode() in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


class Demo(unittest.TestCase):
    def setUp(self):
        self.dir = self.enterContext(tempfile.TemporaryDirectory(prefix="hvd-demo-test-"))
        self.env = {**os.environ, "TMPDIR": self.dir}

    def nothing_left(self):
        self.assertEqual(os.listdir(self.dir), [])
        self.assertEqual(processes_naming(self.dir), [])

    def tell(self, *words):
        """The story's text, of whatever engine."""
        r = subprocess.run([DEMO, *words], capture_output=True, text=True, env=self.env)
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)
        self.assertEqual(r.stderr, "")
        readings = re.findall(r'remap: read "(\w+)"', r.stdout)
        # chapter 4; chapter 8: stale, then right
        self.assertEqual(readings, ["OLD", "NEW", "OLD", "OLD", "OLD", "OLD", "NEW"], r.stdout)
        self.assertIn("24 references cold", r.stdout)
        self.assertIn("guarded: paused (ept-denied)", r.stdout)
        counts = re.search(r"'left' missed ([\d,]+) times and lost ([\d,]+) entries.*?"
                           r"without, it missed ([\d,]+) times and lost ([\d,]+)", r.stdout, re.S)
        tagged, kept, untagged, lost = (int(n.replace(",", "")) for n in counts.groups())
        self.assertEqual(kept, 0)
        self.assertGreater(untagged, 2 * tagged)
        self.assertGreater(lost, 0)
        for line in r.stdout.splitlines():
            self.assertLessEqual(len(line), 102, line)
        return r.stdout

    def test_story(self):
        # where there is no device, soft is what it takes
        words = ["--engine", "soft"] if os.path.exists("/dev/vmxcore") else []
        text = self.tell("--build-dir", BUILD, *words)
        self.assertIn("This daemon runs its VMs on 'soft' (", text)
        self.assertIn("15 references cold", text)
        self.nothing_left()

    def test_story_on_vmx(self):
        """The first half on vmx, the second on soft, as where there is a device."""
        build = self.enterContext(tempfile.TemporaryDirectory(prefix="hvd-demo-build-"))
        os.mkdir(os.path.join(build, "hvd"))
        for name, of in ("hvctl", "hvctl"), ("guests", "guests"), ("hvd/hvd", "tests/hvd_vmx"):
            os.symlink(os.path.realpath(os.path.join(BUILD, of)), os.path.join(build, name))
        text = self.tell("--build-dir", build)
        self.assertIn("This daemon runs its VMs on 'vmx' (auto: ", text)
        self.assertIn("demo: running on vmx", text)
        self.assertIn("the story goes on with the software processor", text)
        self.nothing_left()

    def test_engine(self):
        """On the one that is asked for, or not at all: with the reason."""
        r = subprocess.run([DEMO, "--build-dir", BUILD, "--engine", "none"], capture_output=True,
                           text=True, env=self.env)
        self.assertEqual(r.returncode, 1)
        self.assertIn("there is no engine none", r.stderr)
        self.nothing_left()

    def test_interrupted(self):
        p = subprocess.Popen([DEMO, "--build-dir", BUILD], stdout=subprocess.PIPE, text=True,
                             env=self.env, start_new_session=True)
        for line in p.stdout:
            if "3. One memory access" in line:
                break
        os.killpg(p.pid, signal.SIGINT)
        p.stdout.read()
        p.stdout.close()
        self.assertEqual(p.wait(PATIENCE_S), 130)
        self.nothing_left()

    def test_failure(self):
        """A program that is missing: a message, a status, nothing left."""
        broken = os.path.join(self.dir, "build")
        os.makedirs(os.path.join(broken, "hvd"))
        r = subprocess.run([DEMO, "--build-dir", broken], capture_output=True, text=True,
                           env=self.env)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("hvd did not start", r.stderr)
        self.assertEqual(os.listdir(self.dir), ["build"])


if __name__ == "__main__":
    main()
