# SPDX-License-Identifier: MIT
"""Roles at the real socket: clients with other uids and groups."""
import grp
import json
import os
import re
import signal
import stat
import sys
import time
import unittest

from daemon_client import FLAT_SPIN, PATIENCE_S, ApiError, Client, Daemon

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STRANGER = 54321  # a uid and a gid that nobody has
STRANGERS = 54321


def other_groups(n):
    """Names of groups that exist and that are not root's."""
    names = sorted((g for g in grp.getgrall() if g.gr_gid not in (0, STRANGERS)),
                   key=lambda g: g.gr_gid)
    return names[:n]


OBSERVE, OPERATE, ADMIN, OTHER = (other_groups(4) + [None] * 4)[:4]


def options():
    return ["--access", "roles", "--observe-group", OBSERVE.gr_name,
            "--operate-group", OPERATE.gr_name, "--admin-group", ADMIN.gr_name]


def as_user(path, groups, gid, work, uid=STRANGER):
    """What work(client) returns (JSON) in a process of that user."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            try:
                with Client(path) as c:
                    said = work(c)
            except OSError as e:
                said = {"os": type(e).__name__}
            os.write(write, json.dumps(said).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as f:
        said = f.read()
    if os.waitpid(child, 0)[1]:
        raise AssertionError("the client failed")
    return json.loads(said)


def attempt(c, method, **params):
    """None if it was done; else kind and message."""
    try:
        c.call(method, **params)
        return None
    except ApiError as e:
        return [e.kind, str(e)]


def each_role(c):
    return {"observe": attempt(c, "vm.get", vm="demo"),
            "operate": attempt(c, "vm.pause", vm="demo") or attempt(c, "vm.resume", vm="demo"),
            "admin": attempt(c, "memory.slot.add", vm="demo", slot=f"s{os.getpid()}",
                             size_bytes=4096)}


def first_line(c):
    line = c.line()
    return json.loads(line) if line else None


@unittest.skipIf(os.geteuid(), "only root can become somebody else")
class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*options())
        cls.daemon.start()
        with cls.daemon.client() as c:
            c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20, start=True)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def test_mode(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.daemon.path).st_mode), 0o666)
        os.chmod(self.daemon.dir, 0o755)

    def test_roles(self):
        os.chmod(self.daemon.dir, 0o755)
        for what, groups, gid, allowed, role in (
                ("observe", [OBSERVE.gr_gid], STRANGERS, "observe", "the role observe"),
                ("observe, primary", [], OBSERVE.gr_gid, "observe", "the role observe"),
                ("operate", [OTHER.gr_gid, OPERATE.gr_gid], STRANGERS, "observe operate",
                 "the role operate"),
                ("operate and observe", [OPERATE.gr_gid], OBSERVE.gr_gid, "observe operate",
                 "the role operate"),
                ("admin", [ADMIN.gr_gid], STRANGERS, "observe operate admin", ""),
                ("admin, of 100 groups", list(range(60000, 60100)) + [ADMIN.gr_gid], STRANGERS,
                 "observe operate admin", "")):
            with self.subTest(what=what):
                said = as_user(self.daemon.path, groups, gid, each_role)
                for needed, error in said.items():
                    if needed in allowed.split():
                        self.assertIsNone(error)
                        continue
                    self.assertEqual(error[0], "denied")
                    self.assertIn(f"needs the role {needed}, and has {role}", error[1])
                    self.assertIn(str(STRANGER), error[1])

    def test_every_method(self):
        """The reference tells each method's role: without parameters, it is denied first."""
        os.chmod(self.daemon.dir, 0o755)
        with open(os.path.join(SOURCE, "docs", "api.md"), encoding="utf-8") as f:
            methods = dict(re.findall(r"^\| ([a-z.]+) \| `[a-z-]+` \| (observe|operate|admin) \|",
                                      f.read(), re.M))
        self.assertGreater(len(methods), 20)
        roles = ["observe", "operate", "admin"]
        for has, group in zip(roles, (OBSERVE, OPERATE, ADMIN)):
            said = as_user(self.daemon.path, [group.gr_gid], STRANGERS,
                           lambda c: {m: attempt(c, m) for m in methods})
            for method, needed in methods.items():
                with self.subTest(method=method, has=has):
                    denied = said[method] is not None and said[method][0] == "denied"
                    self.assertEqual(denied, roles.index(has) < roles.index(needed))

    def test_denials_are_logged(self):
        os.chmod(self.daemon.dir, 0o755)

        def work(c):
            for _ in range(30):
                attempt(c, "vm.delete", vm="demo")
            return os.getpid()

        uid = STRANGER + 1  # whose lines nobody else has used up
        pid = as_user(self.daemon.path, [OBSERVE.gr_gid], STRANGERS, work, uid)
        line = f"denied: uid {uid} (pid {pid}): vm.delete needs the role admin, it has " \
               "the role observe"
        self.assertEqual(self.daemon.log_text().count(line), 10)
        with self.daemon.client() as c:  # and nothing was done
            c.call("vm.get", vm="demo")

    def test_stranger(self):
        os.chmod(self.daemon.dir, 0o755)
        for groups, gid in ([], STRANGERS), ([OTHER.gr_gid], OTHER.gr_gid):
            said = as_user(self.daemon.path, groups, gid, first_line)
            self.assertEqual(said["error"]["data"]["kind"], "denied")
            self.assertIn("none of the groups", said["error"]["message"])
        self.assertIn(f"uid {STRANGER} (pid ", self.daemon.log_text())

    def test_paths_are_the_daemons_users(self):
        os.chmod(self.daemon.dir, 0o755)
        said = as_user(self.daemon.path, [ADMIN.gr_gid], STRANGERS,
                       lambda c: attempt(c, "vm.create", name="x", image={"path": "/etc/passwd"}))
        self.assertEqual(said[0], "denied")
        self.assertIn("path", said[1])


@unittest.skipIf(os.geteuid(), "only root can become somebody else")
class Modes(unittest.TestCase):
    def test_private(self):
        """Groups count for nothing; the socket's mode already keeps others out."""
        with Daemon(*options(), "--access", "private") as daemon:
            os.chmod(daemon.dir, 0o755)
            self.assertEqual(stat.S_IMODE(os.stat(daemon.path).st_mode), 0o600)
            said = as_user(daemon.path, [ADMIN.gr_gid], STRANGERS, first_line)
            self.assertEqual(said, {"os": "PermissionError"})
            os.chmod(daemon.path, 0o666)
            said = as_user(daemon.path, [ADMIN.gr_gid], STRANGERS, first_line)
            self.assertIn("only root and the daemon's own user", said["error"]["message"])

    def test_clients_of_one_uid(self):
        """It has its bound; root has none, and places of its own."""
        def come(c):
            path, said = c.socket.getpeername(), []
            others = [Client(path) for _ in range(4)]
            for client in [c] + others:
                try:
                    client.send(b'{"jsonrpc":"2.0","id":1,"method":"vm.list"}\n')
                except OSError:
                    pass  # refused, and said so before
                reply = client.reply()
                said.append(reply.get("error", {}).get("message", "served"))
            return said

        with Daemon(*options(), "--connections", "16", "--connections-per-uid", "3") as daemon:
            os.chmod(daemon.dir, 0o755)
            said = as_user(daemon.path, [OBSERVE.gr_gid], STRANGERS, come)
            refused = "too many clients of this uid are connected"
            self.assertEqual(said, ["served"] * 3 + [refused] * 2)
            self.assertIn(f"uid {STRANGER} (pid ", daemon.log_text())
            self.assertIn(refused, daemon.log_text())
            mine = [daemon.client() for _ in range(14)]
            said = as_user(daemon.path, [OBSERVE.gr_gid], STRANGERS, first_line)
            self.assertIn("too many clients are connected", said["error"]["message"])
            mine += [daemon.client() for _ in range(2)]
            for c in mine:
                c.call("vm.list")
                c.close()

    def test_socket_mode(self):
        with Daemon("--socket-mode", "0660") as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(daemon.path).st_mode), 0o660)

    def test_reload_changes_roles(self):
        """Also of clients that are connected."""
        daemon = Daemon("--access", "roles")
        conf = os.path.join(daemon.dir, "hvd.conf")

        def configure(observe, operate):
            with open(conf, "w", encoding="ascii") as f:
                f.write(f"[access]\nobserve-group = {observe}\noperate-group = {operate}\n"
                        "admin-group =\n")

        daemon.options += ("--config", conf)
        configure(OBSERVE.gr_name, "")
        with daemon:
            os.chmod(daemon.dir, 0o755)
            with daemon.client() as c:
                c.create_flat("demo", FLAT_SPIN, memory_bytes=2 << 20)

            def reload_and_wait(n):
                os.kill(daemon.process.pid, signal.SIGHUP)
                deadline = time.monotonic() + PATIENCE_S
                while daemon.log_text().count("the configuration was reloaded") < n:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)

            # the client is a child: it asks before, between and after the reloads
            go, went = os.pipe(), os.pipe()

            def work(c):
                said = []
                for _ in range(3):
                    said.append(attempt(c, "vm.get", vm="demo"))
                    said.append(attempt(c, "vm.start", vm="demo"))
                    os.write(went[1], b"x")
                    os.read(go[0], 1)
                return said

            watcher = os.fork()
            if not watcher:
                code = 1
                try:
                    for n, groups in enumerate((("", OBSERVE.gr_name), ("", "")), 1):
                        os.read(went[0], 1)
                        configure(*groups)
                        reload_and_wait(n)
                        os.write(go[1], b"x")
                    os.read(went[0], 1)
                    os.write(go[1], b"x")
                    code = 0
                finally:
                    os._exit(code)
            said = as_user(daemon.path, [], OBSERVE.gr_gid, work)
            self.assertEqual(os.waitpid(watcher, 0)[1], 0)
            self.assertIsNone(said[0])
            self.assertIn("has the role observe", said[1][1])
            self.assertIsNone(said[2])
            self.assertIsNone(said[3])
            self.assertIn("has no role", said[4][1])
            self.assertIn("has no role", said[5][1])
            for fd in go + went:
                os.close(fd)


if __name__ == "__main__":
    if os.geteuid():
        print("not root: nothing to test")
        sys.exit(77)
    unittest.main(verbosity=2)
