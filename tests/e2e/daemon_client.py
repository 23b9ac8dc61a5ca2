# SPDX-License-Identifier: MIT
"""A private daemon and its raw socket, for the end-to-end tests."""
import array
import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("HVD_BUILD", "build/release")
HVD = os.path.join(BUILD, "hvd", "hvd")
# The same, but vmx can be used without a device: over the module's ioctl layer in the program.
HVD_VMX = os.path.join(BUILD, "tests", "hvd_vmx")
# sanitizers slow a daemon down; nothing here measures time
PATIENCE_S = float(os.environ.get("HVD_TEST_PATIENCE_S", "120"))

LOAD = 0x100000  # where flat images go


def guest(name):
    return os.path.join(BUILD, "guests", name)


def flat_printer(text, status):
    """A flat 32-bit image that prints text on the serial port and exits with status."""
    code = b"\xba" + struct.pack("<I", 0x3F8)  # mov edx, 0x3f8
    body = (b"\xac"  # next: lodsb
            b"\x84\xc0"  # test al, al
            b"\x74\x03"  # jz done
            b"\xee"  # out dx, al
            b"\xeb\xf8"  # jmp next
            b"\xb0" + bytes([status]) +  # done: mov al, status
            b"\xe6\xf4"  # out 0xf4, al
            b"\xf4\xeb\xfd")  # hlt; jmp $-1
    message = LOAD + len(code) + 5 + len(body)
    code += b"\xbe" + struct.pack("<I", message)  # mov esi, message
    return code + body + text.encode() + b"\0"


FLAT_SPIN = b"\xeb\xfe"
FLAT_TRIPLE_FAULT = b"\x0f\x0b"  # ud2, and no IDT


class ApiError(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]
        self.data = error["data"]
        self.kind = error["data"]["kind"]
        self.field = error["data"].get("field", "")


class Client:
    """One connection; speaks lines, and JSON-RPC on top of them."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""
        self.next_id = 1

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data, fds=()):
        """Bytes, and descriptors with the first of them."""
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            sent = self.socket.sendmsg([data], [rights])
            data = data[sent:]
        self.socket.sendall(data)

    def line(self):
        """The next line; None at the end of the stream."""
        while b"\n" not in self.buffer:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def reply(self):
        line = self.line()
        if line is None:
            raise AssertionError("the daemon hung up")
        return json.loads(line)

    def request(self, method, **params):
        self.next_id += 1
        return {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}

    def call(self, method, fds=(), **params):
        request = self.request(method, **params)
        self.send(json.dumps(request).encode() + b"\n", fds)
        reply = self.reply()
        assert reply["jsonrpc"] == "2.0" and reply["id"] == request["id"], reply
        if "error" in reply:
            raise ApiError(reply["error"])
        return reply["result"]

    # --- what several tests do ---

    def create_flat(self, name, code, **params):
        with MemFile(code) as fd:
            return self.call("vm.create", fds=[fd], name=name, image={"fd": 0},
                             image_format="flat", **params)

    def read(self, vm, size, **where):
        return base64.b64decode(self.call("memory.read", vm=vm, size_bytes=size, **where)["data"])

    def write(self, vm, data, **where):
        return self.call("memory.write", vm=vm, data=base64.b64encode(data).decode(), **where)

    def console(self, vm):
        return base64.b64decode(self.call("console.read", vm=vm)["data"]).decode()

    def wait(self, vm, **params):
        return self.call("vm.wait", vm=vm, timeout_ms=int(PATIENCE_S * 1000), **params)


class MemFile:
    """A memfd with some content."""

    def __init__(self, content):
        self.fd = os.memfd_create("hvd-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(self.fd, content)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


class Daemon:
    """hvd in a directory of its own; ends, by its process id, with the block."""

    def __init__(self, *options, path=None, engine="soft", program=None):
        self.program = program or (HVD_VMX if engine == "vmx" else HVD)
        self.options = options
        self.engine = engine
        self.dir = tempfile.mkdtemp(prefix="hvd-test-")
        self.path = path or os.path.join(self.dir, "hvd.sock")
        self.log = open(os.path.join(self.dir, "log"), "w+b")
        self.process = None

    def start(self, env=None):
        self.process = subprocess.Popen(
            [self.program, "--socket", self.path, "--engine", self.engine, *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, **(env or {})})
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                Client(self.path).close()
                return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("hvd did not start:\n" + self.log_text())
            time.sleep(0.02)

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def client(self):
        return Client(self.path)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self, how=signal.SIGTERM):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("hvd had to be killed:\n" + self.log_text())

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            status = self.end()
            text = self.log_text()
            left = os.path.exists(self.path)
        finally:
            self.log.close()
            shutil.rmtree(self.dir)
        if kind is not None:
            sys.stderr.write("the daemon said:\n" + text)
        elif status != 0:
            raise AssertionError(f"hvd ended with {status}:\n{text}")
        elif left:
            raise AssertionError("hvd left its socket behind")
