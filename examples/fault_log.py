#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fault_log.py IMAGE [WRITES]: who writes to a page, instruction by instruction.

A tiny introspection tool. The page is made read-only in the EPT; a write to it stops the VM with
the reason ept-denied, and the VM's cause has the address and the instruction. The tool logs it,
lets it through, and forbids the next one. The guest (guests/protect.elf) writes to 0x400000 each time
the word at 0x300000 changes.
"""
import struct
import sys

import hvd

MAILBOX, ACK, PAGE = 0x300000, 0x300004, 0x400000


def protect(c, prot):
    c.call("memory.protect", vm="spied", gpa=hex(PAGE), size_bytes=4096, prot=prot)


def wait_denied(c):
    """The event that tells of it."""
    while True:
        method, e = c.next(timeout=60)
        if method == "event" and e.get("reason") == "ept-denied":
            return e


def log(c, event):
    cause = c.call("vm.get", vm="spied")["cause"]
    kinds = [k for bit, k in enumerate(("read", "write", "fetch"))
             if int(cause["qualification"], 16) >> bit & 1]
    print(f"event {event['seq']}: {'+'.join(kinds)} of gpa {cause['gpa']} (gva {cause['gva']}) "
          f"by vCPU {cause['vcpu']} at rip {cause['rip']}", flush=True)


def main(image, writes=3):
    with hvd.Client() as c:
        c.create("spied", image, memory_bytes=64 << 20, start=True)
        c.wait_console("spied", "waiting")
        c.call("events.subscribe", vm="spied", types=["vm.state"])
        for word in range(1, writes + 1):
            protect(c, "rx")
            c.write("spied", struct.pack("<I", word), gpa=MAILBOX)
            log(c, wait_denied(c))
            protect(c, "rwx")
            c.call("vm.resume", vm="spied")
            while struct.unpack("<I", c.read("spied", 4, gpa=ACK))[0] != word:
                pass
        c.call("vm.stop", vm="spied")
        c.call("vm.delete", vm="spied")


main(sys.argv[1], *map(int, sys.argv[2:]))
