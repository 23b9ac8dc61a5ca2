# SPDX-License-Identifier: MIT
"""Manual pages, completions and the sample configuration say what the programs do."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from daemon_client import BUILD, FLAT_SPIN, HVD, PATIENCE_S, Daemon

HVCTL = os.path.join(BUILD, "hvctl", "hvctl")
PAGES = os.path.join(BUILD, "pages")
MANUALS = ["hvctl.1", "hvd.8", "hvd.conf.5"]


def run(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE_S, check=True, **more).stdout


def page(name):
    with open(os.path.join(PAGES, name), encoding="utf-8") as f:
        return f.read()


def options_of(help_text):
    """Those at the beginning of a line of help."""
    return re.findall(r"^  (--[a-z0-9-]+)", help_text, re.M)


def verbs():
    """Verbs and their options, as hvctl itself tells."""
    listed = run(HVCTL, "help").split("Verbs:\n")[1].split("\n\n")[0]
    names = re.findall(r"^  ([a-z-]+)", listed, re.M)
    return {v: options_of(run(HVCTL, "help", v)) for v in names if v not in ("call", "help")}


class Bash(unittest.TestCase):
    def complete(self, *words, env=None, program="hvctl"):
        """What is offered for the last of the words."""
        script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_$1"; ' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        out = run("bash", "--norc", "-c", script, "bash", os.path.join(PAGES, program + ".bash"),
                  program, *words, env={**os.environ, **(env or {})})
        return out.split()

    def test_verbs(self):
        self.assertEqual(sorted(self.complete("")), sorted([*verbs(), "call", "help"]))
        self.assertEqual(sorted(self.complete("help", "")), sorted([*verbs(), "call", "help"]))
        self.assertEqual(self.complete("rema"), ["remap"])
        self.assertEqual(self.complete("--json", "rema"), ["remap"])
        self.assertEqual(self.complete("--socket", "x", "rema"), ["remap"])

    def test_options(self):
        self.assertGreater(len(verbs()), 20)
        for verb, options in verbs().items():
            with self.subTest(verb=verb):
                offered = self.complete(verb, "--")
                self.assertEqual(sorted(offered), sorted({*options, "--socket", "--json",
                                                          "--help", "--version"}))

    def test_values(self):
        self.assertEqual(self.complete("create", "x", "--format", "m"), ["multiboot"])
        self.assertEqual(self.complete("create", "x", "--memory", ""), [])
        self.assertEqual(self.complete("wait", "x", "--until", "cons"), ["console"])
        # lists of words, and options of hvctl's own
        self.assertEqual(self.complete("events", "--type", "vm.s"), ["vm.state"])
        self.assertEqual(self.complete("trace", "x", "--kind", "v"), ["violation"])
        self.assertEqual(self.complete("tlb-entries", "--structure", "d"), ["d1"])
        self.assertEqual(self.complete("trace", "x", "--count", ""), [])
        # --watch takes no second word: options go on behind it
        self.assertEqual(self.complete("stats", "--watch", "--c"), ["--count"])
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "image.elf")
            with open(name, "w", encoding="ascii"):
                pass
            for words in (["create", "x"], ["create", "x", "--module"], ["write", "x", "--file"],
                          ["call", "vm.create", "--image"], ["--socket"],
                          ["create", "--memory", "64M", "x"]):
                with self.subTest(words=words):
                    self.assertEqual(self.complete(*words, folder + "/im"), [name])

    def test_hvd(self):
        options = options_of(run(HVD, "--help"))
        self.assertEqual(sorted(self.complete("--", program="hvd")), sorted(options))
        for words, offered in ((["--log-level", "w"], ["warning"]),
                               (["--log-level", "=", "w"], ["warning"]),
                               (["--log-level", "="], ["error", "warning", "info", "debug"]),
                               (["--access", ""], ["auto", "private", "roles"]),
                               (["--engine", ""], ["auto", "vmx", "soft"]), (["--vpid-limit", ""], []),
                               (["--admin-group", "roo"], ["root"]),
                               (["--config", "/etc/passw"], ["/etc/passwd"]),
                               (["--scatter", "--chec"], ["--check"])):
            with self.subTest(words=words):
                found = [w for w in self.complete(*words, program="hvd") if w != "/etc/passwd-"]
                self.assertEqual(found, offered)

    def test_vms(self):
        with Daemon() as daemon, daemon.client() as c:
            for name in "alpha", "beta", "beta2":
                c.create_flat(name, FLAT_SPIN, memory_bytes=2 << 20)
            path = {"PATH": os.path.dirname(HVCTL) + ":" + os.environ["PATH"]}
            socket = ["--socket", daemon.path]
            self.assertEqual(self.complete(*socket, "start", "", env=path),
                             ["alpha", "beta", "beta2"])
            self.assertEqual(self.complete("remap", "be", env={**path, "HVD_SOCKET": daemon.path}),
                             ["beta", "beta2"])
            self.assertEqual(self.complete(*socket, "start", "alpha", "", env=path), [])
        # without a daemon there is nothing to offer, and nothing is said
        self.assertEqual(self.complete("--socket", "/nonexistent", "start", "", env=path), [])


@unittest.skipUnless(shutil.which("zsh"), "needs zsh")
class Zsh(unittest.TestCase):
    def test_syntax(self):
        run("zsh", "-n", os.path.join(PAGES, "_hvctl"))
        run("zsh", "-n", os.path.join(PAGES, "_hvd"))

    def test_hvd(self):
        said = run("zsh", "-f", "-c", '_arguments() { print -rl -- "$@"; }\nsource "$1"', "zsh",
                   os.path.join(PAGES, "_hvd"))
        found = re.findall(r"^(--[a-z0-9-]+)=?\[", said, re.M)
        self.assertEqual(found, options_of(run(HVD, "--help")))
        self.assertRegex(said, r"(?m)^--log-level=\[.*\]:LEVEL:\(error warning info debug\)$")
        self.assertRegex(said, r"(?m)^--admin-group=\[.*\]:GROUP:_groups$")

    def offered(self, *words):
        """The specifications that _arguments is called with for these words."""
        script = 'fpath=(); compdef() { :; }; _describe() { print -rl -- $verbs; }\n' \
                 '_arguments() { if [[ $1 == -C ]]; then state=verb; line=("$HVCTL_VERB"); ' \
                 'return 1; fi; print -rl -- "$@"; }\n' \
                 'source "$1"'
        return run("zsh", "-f", "-c", script, "zsh", os.path.join(PAGES, "_hvctl"),
                   env={**os.environ, "HVCTL_VERB": words[0]})

    def test_options(self):
        for verb, options in verbs().items():
            with self.subTest(verb=verb):
                said = self.offered(verb)
                found = re.findall(r"^\*?(--[a-z0-9-]+)=?-?\[", said, re.M)
                self.assertEqual(sorted(found), sorted({*options, "--socket", "--json", "--help",
                                                        "--version"}))

    def test_verbs(self):
        listed = page("_hvctl").split("verbs=(\n")[1].split("\n\t)\n")[0]
        found = re.findall(r"^\t\t'([a-z-]+):", listed, re.M)
        self.assertEqual(sorted(found), sorted([*verbs(), "call", "help"]))


class Manuals(unittest.TestCase):
    @unittest.skipUnless(shutil.which("groff"), "needs groff")
    def test_no_warnings(self):
        for name in MANUALS:
            with self.subTest(name=name):
                r = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z",
                                    os.path.join(PAGES, name)], capture_output=True, text=True,
                                   timeout=PATIENCE_S)
                self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "", ""))

    @unittest.skipUnless(shutil.which("man"), "needs man")
    def test_man_shows_them(self):
        for name in MANUALS:
            with self.subTest(name=name):
                r = subprocess.run(["man", "--warnings", "-l", os.path.join(PAGES, name)],
                                   stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                   timeout=PATIENCE_S, env={**os.environ, "MANPAGER": "cat",
                                                            "LC_ALL": "C.UTF-8"})
                self.assertEqual((r.returncode, r.stderr), (0, ""))
                self.assertIn("NAME", r.stdout)

    def test_hvctl(self):
        text = page("hvctl.1").replace("\\-", "-")
        for verb, options in verbs().items():
            with self.subTest(verb=verb):
                section = re.search(rf"^\.SS {verb}(?: [^\n]*)?\n(.*?)(?=^\.S[SH] )", text,
                                    re.M | re.S)
                self.assertEqual(re.findall(r"^\.B (--[a-z0-9-]+)", section.group(1), re.M),
                                 options)

    def test_hvd(self):
        options = options_of(run(HVD, "--help"))
        text = page("hvd.8").replace("\\-", "-")
        self.assertGreater(len(options), 20)
        self.assertEqual(re.findall(r"^\.B (--[a-z0-9-]+)", text, re.M), options)
        keys = [o[2:] for o in options if o not in ("--config", "--check", "--foreground",
                                                    "--version", "--help")]
        text = page("hvd.conf.5").replace("\\-", "-")
        self.assertEqual(re.findall(r"^\.B ([a-z0-9-]+)", text, re.M), keys)
        self.assertEqual(re.findall(r"^#([a-z0-9-]+) =", page("hvd.conf"), re.M), keys)

    def test_sample(self):
        out = run(HVD, "--check", "--config", os.path.join(PAGES, "hvd.conf"))
        self.assertIn("hvd.conf: valid", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
