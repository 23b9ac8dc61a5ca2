#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""remap.py IMAGE: a page of a running guest is pointed at other memory.

The guest (guests/remap.elf) waits for a word at 0x300000, then prints the text that it reads at
0x400000.
"""
import sys

import hvd

MAILBOX, TEXT = 0x300000, 0x400000

with hvd.Client() as c:
    c.create("demo", sys.argv[1], memory_bytes=64 << 20, start=True)
    c.wait_console("demo", "waiting")
    c.write("demo", b"OLD\0", gpa=TEXT)
    c.write("demo", b"\1\0\0\0", gpa=MAILBOX)
    c.wait_console("demo", '"OLD"')

    c.call("memory.slot.add", vm="demo", slot="spare", size_bytes=4 << 20)
    c.write("demo", b"NEW\0", slot="spare")
    change = c.call("memory.remap", vm="demo", gpa=hex(TEXT), size_bytes=4096, slot="spare")
    needed = change["invalidation"]
    print(f"remapped: {change['entries_written']} EPT entries written, "
          f"{needed['instruction']} {needed['type']}: {needed['reason']}")

    c.write("demo", b"\2\0\0\0", gpa=MAILBOX)
    c.wait_console("demo", '"NEW"')
    print(hvd.unpack(c.call("console.read", vm="demo")["data"]).decode(), end="")
    c.call("vm.stop", vm="demo")
    c.call("vm.delete", vm="demo")
