#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""events.py [--since N] [--until TYPE]: what happens in the daemon, a line an event.

Events are numbered without holes; what could not be told is told of as a gap.
"""
import argparse
import datetime

import hvd


def line(e):
    at = datetime.datetime.fromtimestamp(e["time_ns"] / 1e9).strftime("%H:%M:%S.%f")[:-3]
    words = [e.get("vm", "-"), e.get("state", {}).get("name", ""), e.get("reason", ""),
             e.get("report", ""), e.get("detail", "")]
    return f"{at} {e['seq']:4} {e['type']:<20} " + " ".join(w for w in words if w)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", type=int, help="replay from this number on")
    parser.add_argument("--until", help="end after an event of this type")
    options = parser.parse_args()
    params = {} if options.since is None else {"since": options.since}
    with hvd.Client() as c:
        c.call("events.subscribe", **params)
        for method, e in c:
            if method == "gap":
                print(f"missed {e['missed']} events, from {e['first_seq']} on")
            elif method == "event":
                print(line(e), flush=True)
                if e["type"] == options.until:
                    return


main()
