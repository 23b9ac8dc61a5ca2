# SPDX-License-Identifier: MIT
"""A client of hvd in Python's standard library alone.

    with hvd.Client() as c:
        for vm in c.call("vm.list")["vms"]:
            print(vm["vm"], vm["state"]["name"])

Methods, parameters and notifications are those of docs/api.md. A client belongs to one thread at
a time.
"""
import base64
import collections
import json
import os
import select
import socket
import time

DEFAULT_SOCKET = "/run/hvd/hvd.sock"


class Error(Exception):
    """The daemon has refused a request."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]  # JSON-RPC's
        self.data = error.get("data", {})  # with "limit", "requested", "existing", ... by its kind
        self.kind = self.data.get("kind", "")  # "not-found", "overlap", ...
        self.field = self.data.get("field", "")  # the parameter that it is about


class Client:
    """A connection. path None: to $HVD_SOCKET, else to the system's daemon."""

    def __init__(self, path=None):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path or os.environ.get("HVD_SOCKET") or DEFAULT_SOCKET)
        except OSError:
            self._socket.close()
            raise
        self._received = bytearray()
        self._next_id = 1
        self._outstanding = set()
        self._replies = {}  # by id; those that nobody has asked for yet
        self._notifications = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def fileno(self):
        """For select and poll; there may be notifications that have been received already."""
        return self._socket.fileno()

    # --- requests ---

    def call(self, method, *, fds=(), **params):
        """The result. fds: descriptors for parameters {"fd": n}."""
        return self.wait(self.send(method, fds=fds, **params))

    def send(self, method, *, fds=(), **params):
        """Sends a request and does not wait; the id that wait() takes.

        The daemon stops reading from a client that does not read: after some hundred requests,
        wait for the first of them before you send more.
        """
        number = self._next_id
        self._next_id += 1
        line = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        data = line.encode() + b"\n"
        sent = socket.send_fds(self._socket, [data], list(fds)) if fds else 0
        self._socket.sendall(data[sent:])
        self._outstanding.add(number)
        return number

    def wait(self, number, timeout=None):
        """The result of the request with this id. Error: it was refused."""
        deadline = _deadline(timeout)
        if number not in self._outstanding:
            raise ValueError(f"no request {number} is waited for")
        while number not in self._replies:
            self._receive(deadline)
        self._outstanding.remove(number)
        reply = self._replies.pop(number)
        if "error" in reply:
            raise Error(reply["error"])
        return reply["result"]

    def cancel(self, number):
        """Asks that a request end early; it is answered in any case. False: it is done."""
        return self.call("request.cancel", id=number)["found"]

    # --- notifications ---

    def next(self, timeout=None):
        """(method, params) of the next notification; TimeoutError after so many seconds."""
        deadline = _deadline(timeout)
        while not self._notifications:
            self._receive(deadline)
        return self._notifications.popleft()

    def __iter__(self):
        """Notifications, until the daemon ends."""
        while True:
            try:
                yield self.next()
            except ConnectionError:
                return

    def _receive(self, deadline):
        left = None if deadline is None else max(0, deadline - time.monotonic())
        if not select.select([self._socket], [], [], left)[0]:
            raise TimeoutError
        more = self._socket.recv(1 << 18)
        if not more:
            raise ConnectionResetError("the daemon has closed the connection")
        *lines, rest = more.split(b"\n")
        for line in lines:
            self._received += line
            self._take(json.loads(self._received))
            self._received.clear()
        self._received += rest

    def _take(self, message):
        if "method" in message:
            self._notifications.append((message["method"], message["params"]))
        elif message["id"] is None:  # of no request: the daemon takes no more clients, say
            raise Error(message["error"])
        else:
            self._replies[message["id"]] = message

    # --- memory: bytes are base64 on the wire, addresses strings ---

    def read(self, vm, size, **where):
        """Bytes at gpa=, gva= or slot= and offset_bytes=; addresses may be integers."""
        return unpack(self.call("memory.read", vm=vm, size_bytes=size, **_where(where))["data"])

    def write(self, vm, data, **where):
        self.call("memory.write", vm=vm, data=pack(data), **_where(where))

    def create(self, name, image, **params):
        """A VM from an image file, which goes along as a descriptor."""
        with open(image, "rb") as f:
            return self.call("vm.create", fds=[f.fileno()], name=name, image={"fd": 0}, **params)

    def wait_console(self, vm, text, timeout=60):
        self.call("vm.wait", vm=vm, until="console", text=text, timeout_ms=int(timeout * 1000))


def pack(data):
    return base64.b64encode(data).decode()


def unpack(text):
    return base64.b64decode(text, validate=True)


def _where(where):
    return {k: hex(v) if isinstance(v, int) and k in ("gpa", "gva") else v
            for k, v in where.items()}


def _deadline(timeout):
    return None if timeout is None else time.monotonic() + timeout
