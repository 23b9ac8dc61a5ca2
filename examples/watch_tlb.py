#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""watch_tlb.py VM [REPORTS [INTERVAL_MS]]: what the VM's vCPUs do to the TLB, as it happens.

Counters only grow: a line has what came since the report before.
"""
import sys

import hvd

COUNTERS = "retired", "data_lookups", "data_misses", "fetch_misses", "walks", "walk_refs_ept"


def growth(now, before):
    """What a counter grew by; an engine that can't observe it gives null."""
    return "-" if None in (now, before) else f"{now - before:,}"


def main(vm, reports=5, interval_ms=1000):
    before = {}
    with hvd.Client() as c:
        # tlb: what tlb.stats has; of the other counters none begins so
        c.call("stats.subscribe", vm=vm, tlb=True, names=["-"], interval_ms=interval_ms)
        print("vcpu", *(f"{name:>14}" for name in COUNTERS))
        for method, params in c:
            if method == "ended":
                print(params["reason"])
                return
            if method != "stats":
                continue
            for v in params["vcpus"]:
                old = before.get(v["vcpu"])
                if old:
                    print(f"{v['vcpu']:4}",
                          *(f"{growth(v[name], old[name]):>14}" for name in COUNTERS), flush=True)
                before[v["vcpu"]] = v
            reports -= 1
            if reports < 0:
                return


main(sys.argv[1], *map(int, sys.argv[2:]))
