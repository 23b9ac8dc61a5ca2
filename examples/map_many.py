#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""map_many.py VM [PAGES]: as many 4 KiB pages mapped by one request, all or none of them.

The pages of a slot are mapped in reverse order, so that no two make a larger leaf; then each is
pointed at another page, while the guest runs. One INVEPT covers the batch.
"""
import struct
import sys

import hvd

GPA = 0x4000000000  # beyond the VM's RAM


def main(vm, pages=4096):
    def batch(op, order, **shared):
        """One record a page: where, and which page of the slot."""
        records = b"".join(struct.pack("<QQ", GPA + i * 4096, order(i) * 4096) if order else
                           struct.pack("<Q", GPA + i * 4096) for i in range(pages))
        change = c.call("memory.batch", vm=vm,
                        packed={"op": op, "records": hvd.pack(records), **shared})
        print(f"{op}: {pages} changes, {change['entries_written']} entries written, "
              f"invalidation {change['invalidation']['need']}, "
              f"{change['invept_issued']} INVEPT at once, "
              f"{change['processors_deferred']} processors deferred")

    with hvd.Client() as c:
        c.call("memory.slot.add", vm=vm, slot="many", size_bytes=pages * 4096)
        batch("map", lambda i: pages - 1 - i, slot="many")
        batch("remap", lambda i: (i + 7) % pages, slot="many")
        batch("unmap", None)
        c.call("memory.slot.remove", vm=vm, slot="many")


main(sys.argv[1], *map(int, sys.argv[2:]))
