# SPDX-License-Identifier: MIT
"""A page of a running guest is pointed elsewhere: OLD before, NEW after, every time."""
from hvctl_harness import *

ROUNDS = int(os.environ.get("HVD_TEST_ROUNDS", "60"))
REMAP = ["remap", "demo", "--gpa", hex(TEXT), "--size", "4K", "--slot"]


def start(d, *options):
    d.ok("create", "demo", guest("remap.elf"), "--run", *options)
    d.wait_console("demo", "remap: waiting")
    for slot, text in (("a", "OLD"), ("b", "NEW")):
        d.ok("slot-add", "demo", slot, "--size", "2M")
        d.ok("write", "demo", "--slot", slot, "--offset", 0, "--text", text)


def read_text(d, word):
    """What the guest itself reads at the text page."""
    d.ask("demo", word)
    raw = d.ok("read", "demo", "--gpa", hex(MAILBOX_TEXT), "--size", 8, "--raw", text=False)
    return raw.split(b"\0")[0].decode()


class Remap(unittest.TestCase):
    def check_end(self, d, readings):
        d.word("demo", STOP)
        self.assertEqual(d.wait_end("demo")["exit_status"], 0)
        self.assertIn(f"remap: stopped after {readings} readings", d.ok("console", "demo"))
        d.ok("delete", "demo")

    def test_many_times(self):
        for options in ([], ["--vpid=off"], ["--ept-page", "4K"]):
            with self.subTest(options=options), Daemon() as d:
                start(d, *options)
                word = 0
                for i in range(ROUNDS):
                    slot, text = (("a", "OLD"), ("b", "NEW"))[i % 2]
                    change = d.json(*REMAP, slot)
                    self.assertEqual(change["invalidation"]["need"], "required")
                    word += 1
                    self.assertEqual(read_text(d, word), text, f"round {i}")
                self.check_end(d, word)

    def test_left_out(self):
        """Without its INVEPT the guest goes on reading OLD; with it, NEW. As hardware does."""
        with Daemon("--unsafe-hooks") as d:
            start(d)
            d.json(*REMAP, "a")
            self.assertEqual(read_text(d, 1), "OLD")
            change = d.json(*REMAP, "b", "--skip-invalidation")
            self.assertEqual(change["invept_issued"], 0)
            self.assertEqual(read_text(d, 2), "OLD", "the TLB kept the old translation")
            shown = d.ok("read", "demo", "--gpa", hex(TEXT), "--size", 3, "--raw")
            self.assertEqual(shown, "NEW", "the EPT has the new one")
            d.json(*REMAP, "a")
            d.json(*REMAP, "b")
            self.assertEqual(read_text(d, 3), "NEW")
            self.check_end(d, 3)

    def test_left_out_is_refused(self):
        with Daemon() as d:
            start(d)
            code, _, err = d.run(*REMAP, "a", "--skip-invalidation")
            self.assertEqual(code, 1)
            self.assertIn("unsafe-hooks", err)
            d.retire("demo")


if __name__ == "__main__":
    main()
