# SPDX-License-Identifier: MIT
"""Each benchmark still runs and prints what it says: shape and signs, no speed."""
import json
import os
import subprocess
import unittest

BUILD = os.environ.get("HVD_BUILD", "build/release")
PATIENCE_S = 240
# program, its arguments, names that have to be among its results
BENCHES = {
    "remap": (["bench/remap/bench_remap", "--quick", "--rounds", "2"],
              ["core batch=1", "core batch=65536", "engine batch=1", "engine batch=65536"]),
    "api": (["bench/api/bench_api", "--quick", "--rounds", "2"],
            ["hvd vm.list clients=1 depth=1 rate", "echo vm.list clients=1 depth=1 rate",
             "hvd memory.remap clients=64 depth=16 latency p99",
             "remap stopped single=1 depth=1 rate", "remap stopped batch=256 depth=1 rate",
             "remap running batch=16 depth=1 request latency p50",
             "boot 64 MiB first instruction p50", "vms defined=20 vm.create",
             "vms running=5 resident"]),
}


class Smoke(unittest.TestCase):
    def run_bench(self, name):
        command, expected = BENCHES[name]
        r = subprocess.run([os.path.join(BUILD, command[0]), *command[1:]], capture_output=True,
                           text=True, timeout=PATIENCE_S)
        self.assertEqual(r.returncode, 0, r.stderr)
        report = json.loads(r.stdout)
        self.assertTrue(report["quick"])
        self.assertEqual(report["rounds"], 2)
        results = {result["name"]: result for result in report["results"]}
        self.assertEqual(len(results), len(report["results"]), "a name is there twice")
        self.assertEqual([n for n in expected if n not in results], [])
        for result in results.values():
            self.assertEqual(len(result["rounds"]), 2, result)
            self.assertTrue(result["unit"])
            self.assertLessEqual(result["min"], result["median"])
            self.assertLessEqual(result["median"], result["max"])
            # what a few VMs add to a daemon can be less than the host counts
            if "each VM" not in result["name"]:
                self.assertGreater(result["min"], 0, result)

    def test_remap(self):
        self.run_bench("remap")

    def test_api(self):
        self.run_bench("api")


if __name__ == "__main__":
    unittest.main(verbosity=2)
