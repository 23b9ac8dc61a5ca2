# SPDX-License-Identifier: MIT
"""A daemon is killed at random moments of a scripted load, again and again on one directory.

After each kill: what was acknowledged is there, and as it was acknowledged; what was deleted
is gone; what was under way is whole or absent; and nothing else is left.

    store_kill.py [KILLS [SEED]]
"""
import hashlib
import json
import os
import random
import select
import subprocess
import sys
import time

from daemon_client import HVD, PATIENCE_S, Client, MemFile
from store_harness import Keeper

WORKERS = 4
DEPTH = 3  # requests of a worker under way
ALIVE_S = 0.12  # at most, of load
VMS = 6  # a worker's, more or less


class Wanted:
    """A VM that was asked for: what must be found if it is there."""

    def __init__(self, name, params, content):
        self.name = name
        self.params = params
        self.sha256 = hashlib.sha256(content).hexdigest() if content else None
        self.uuid = None

    def check(self, d):
        for key, value in self.params.items():
            assert d[key] == value, (self.name, key, d[key], value)
        assert d["name"] == self.name
        if self.uuid:
            assert d["uuid"] == self.uuid, (self.name, d["uuid"], self.uuid)
        if self.sha256:
            assert d["image"]["sha256"] == self.sha256, (self.name, d["image"])
        else:
            assert "image" not in d


class Model:
    """What may be there."""

    def __init__(self):
        self.there = {}  # acknowledged: by name
        self.coming = {}  # creations under way
        self.going = {}  # deletions under way
        self.counts = {"created": 0, "deleted": 0, "came": 0, "went": 0, "lost": 0, "stayed": 0}

    def check(self, found):
        """found: definitions by name. Afterwards, that is what is there."""
        for name, wanted in self.there.items():
            assert name in found, f"{name} was acknowledged, and is gone"
            wanted.check(found[name])
        for name, d in found.items():
            wanted = self.there.get(name) or self.coming.get(name) or self.going.get(name)
            assert wanted, f"{name} was deleted or never asked for, and is there"
            wanted.check(d)
            wanted.uuid = d["uuid"]
        self.counts["came"] += sum(name in found for name in self.coming)
        self.counts["lost"] += sum(name not in found for name in self.coming)
        self.counts["stayed"] += sum(name in found for name in self.going)
        self.counts["went"] += sum(name not in found for name in self.going)
        for name, wanted in [*self.coming.items(), *self.going.items()]:
            if name in found:
                self.there[name] = wanted
        self.coming, self.going = {}, {}


class Worker:
    """A connection that creates and deletes VMs of its own names."""

    def __init__(self, number, path, model, rng, fds):
        self.prefix = f"w{number}-"
        self.client = Client(path)
        self.model = model
        self.rng = rng
        self.fds = fds  # (descriptor, content)
        self.pending = []  # (is it a creation, name, transient)
        self.transient = set()

    def mine(self):
        return [name for name in self.model.there if name.startswith(self.prefix)]

    def step(self):
        """One more request."""
        mine = self.mine()
        if mine and self.rng.random() < len(mine) / (2 * VMS):
            name = self.rng.choice(mine)
            self.model.going[name] = self.model.there.pop(name)
            self.pending.append((False, name, False))
            self.send("vm.delete", (), vm=name)
            return
        busy = {*mine, *self.transient, *self.model.coming, *self.model.going}
        name = next(n for n in iter(lambda: f"{self.prefix}{self.rng.randrange(1000)}", None)
                    if n not in busy)
        fd, content = self.rng.choice(self.fds)
        transient = self.rng.random() < 0.1
        params = {"memory_bytes": self.rng.choice((4, 5)) << 20, "vcpus": self.rng.choice((1, 2))}
        if content:  # a flat image takes no command line
            params["load_gpa"] = hex((1 << 20) + (self.rng.randrange(512) << 12))
        else:
            params["command_line"] = f"{self.rng.randrange(1 << 64):x} \u00e9\"\\" * 7
        if transient:
            self.transient.add(name)
        else:
            self.model.coming[name] = Wanted(name, params, content)
        self.pending.append((True, name, transient))
        image = {"image": {"fd": 0}, "image_format": "flat",
                 "start": self.rng.random() < 0.05} if content else {}
        self.send("vm.create", (fd,) if content else (), name=name, transient=transient,
                  **params, **image)

    def send(self, method, fds, **params):
        try:
            self.client.send(json.dumps(self.client.request(method, **params)).encode() + b"\n",
                             fds)
        except OSError:
            pass  # it is dead: nothing comes of it

    def take(self, line):
        reply = json.loads(line)
        created, name, transient = self.pending.pop(0)
        if created and not transient:
            wanted = self.model.coming.pop(name)
            assert "result" in reply, reply
            wanted.uuid = reply["result"]["uuid"]
            self.model.there[name] = wanted
            self.model.counts["created"] += 1
        elif not created:
            wanted = self.model.going.pop(name)
            if "error" in reply:  # it runs
                assert reply["error"]["data"]["kind"] == "invalid-state", reply
                self.model.there[name] = wanted
            else:
                self.model.counts["deleted"] += 1

    def receive(self):
        """Takes what there is. False at the end of the stream."""
        try:
            more = self.client.socket.recv(1 << 16)
        except OSError:
            more = b""
        self.client.buffer += more
        while b"\n" in self.client.buffer:
            line, self.client.buffer = self.client.buffer.split(b"\n", 1)
            self.take(line)
        return bool(more)


def start(k, log):
    path = os.path.join(k.folder, "s")
    process = subprocess.Popen([HVD, "--socket", path, "--engine", "soft", "--state-dir", k.state],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return process, path, Client(path)
        except OSError:
            time.sleep(0.001)
    process.kill()
    process.wait()
    raise AssertionError("hvd did not start")


def look(k, client, model):
    found = {}
    info = client.call("daemon.info")
    assert info["damaged_definitions"] == 0, info
    for vm in client.call("vm.list")["vms"]:
        found[vm["vm"]] = client.call("vm.export", vm=vm["vm"])
        assert vm["state"]["name"] == "shutoff", vm
        assert found[vm["vm"]] == k.definition(vm["vm"])
    assert info["defined_vms"] == len(found)
    model.check(found)
    assert k.files() == k.expected_files(), k.files() ^ k.expected_files()


def load(process, path, model, rng, fds):
    """Works until the daemon is killed, and takes every reply that it has given."""
    workers = [Worker(i, path, model, rng, fds) for i in range(WORKERS)]
    end = time.monotonic() + rng.random() * ALIVE_S
    for w in workers:
        w.step()
    while True:
        left = end - time.monotonic()
        if left <= 0:
            break
        ready = select.select([w.client.socket for w in workers], [], [], left)[0]
        for w in workers:
            if w.client.socket in ready and not w.receive():
                raise AssertionError("the daemon hung up")
            while len(w.pending) < DEPTH and rng.random() < 0.9:
                w.step()
    process.kill()
    process.wait()
    for w in workers:
        while w.receive():
            pass
        w.client.close()


def main(kills, seed):
    rng = random.Random(seed)
    model = Model()
    with Keeper() as k, open(os.path.join(k.folder, "log"), "w+b") as log, \
            MemFile(b"\xeb\xfe" * 2000) as small, MemFile(os.urandom(1 << 18)) as large:
        fds = [(small, b"\xeb\xfe" * 2000), (large, os.pread(large, 1 << 18, 0)), (None, None),
               (None, None)]
        try:
            for _ in range(kills):
                process, path, client = start(k, log)
                try:
                    look(k, client, model)
                    load(process, path, model, rng, fds)
                finally:
                    client.close()
                    process.kill()
                    process.wait()
            process, path, client = start(k, log)
            look(k, client, model)
            client.close()
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        except BaseException:
            log.seek(0)
            sys.stderr.write(f"seed {seed}; the daemons said:\n" +
                             log.read().decode(errors="replace")[-4000:])
            raise
    print(f"{kills} kills, seed {seed}: {model.counts}")
    # else it has proved nothing
    assert model.counts["created"] > kills and model.counts["deleted"] > 0, model.counts
    assert model.counts["lost"] + model.counts["came"] > kills / 2, model.counts


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200,
         int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32))
