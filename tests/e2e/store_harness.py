# SPDX-License-Identifier: MIT
"""A daemon with a state directory that outlives it, for the tests of stored definitions."""
import json
import os
import shutil
import signal
import tempfile

from daemon_client import Daemon

IMAGES = "images"


class Keeper:
    """One state directory, and daemons on it one after the other."""

    def __init__(self, *options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="hvd-test-")
        self.state = os.path.join(self.folder, "state")
        self.daemon = None

    def start(self, *more):
        # a socket of its own for each: the one of a daemon that was killed is not waited for
        self.daemon = Daemon("--state-dir", self.state, *self.options, *more).start()
        return self.daemon

    def end(self, how=signal.SIGTERM):
        """Its exit status; its log is in self.log."""
        daemon, self.daemon = self.daemon, None
        try:
            status = daemon.end(how)
            self.log = daemon.log_text()
        finally:
            daemon.log.close()
            shutil.rmtree(daemon.dir)
        return status

    def kill(self):
        return self.end(signal.SIGKILL)

    def restart(self, how=signal.SIGTERM, *more):
        self.end(how)
        return self.start(*more)

    def client(self):
        return self.daemon.client()

    # --- the directory ---

    def path(self, *names):
        return os.path.join(self.state, *names)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def definition(self, vm):
        return json.loads(self.read(vm + ".json"))

    def files(self):
        """What is there besides the lock, images as images/NAME."""
        names = set(os.listdir(self.state)) - {".lock", IMAGES}
        return names | {f"{IMAGES}/{name}" for name in os.listdir(self.path(IMAGES))}

    def expected_files(self):
        """What should be there, by what the definitions say."""
        names = {name for name in os.listdir(self.state) if name.endswith(".json")}
        for name in list(names):
            d = json.loads(self.read(name))
            files = [d["image"]] if "image" in d else []
            names |= {f["path"] for f in files + d.get("modules", [])}
        return names

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.daemon:
                status = self.end()
                if kind is None and status != 0:
                    raise AssertionError(f"hvd ended with {status}:\n{self.log}")
            if kind is not None:
                print("the last daemon said:\n" + getattr(self, "log", ""))
        finally:
            shutil.rmtree(self.folder)
