# SPDX-License-Identifier: MIT
"""The sessions that documents show: every command is run, and prints what the document says.

Numbers, addresses and identifiers may differ from run to run; words may not. With
--update the outputs in the documents are replaced by what the commands print now.
"""
import signal
import sys

from hvctl_harness import *

DOCUMENTS = "README.md", "docs/scripting.md"
SHOWN_BUILD = "build/release"
SHOWN_SOCKET = "/tmp/hvd.sock"
BLOCK = re.compile(r"(?ms)^```console\n(.*?)^```\n")


class Shell:
    """One bash that keeps its variables from command to command."""

    def __init__(self, where):
        self.where = where
        self.bash = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=SOURCE,
                                     start_new_session=True, env={**os.environ, "NO_COLOR": "1",
                                          "PYTHONDONTWRITEBYTECODE": "1"})

    def run(self, command):
        real = command.replace(SHOWN_BUILD, BUILD).replace(SHOWN_SOCKET, self.socket)
        if real.endswith("&"):
            # the daemon: its log is not part of the session
            real = real[:-1] + f" >{self.where}/log 2>&1 &"
            real += f"\nfor i in {{1..500}}; do [ -S {self.socket} ] && break; sleep 0.02; done"
        self.bash.stdin.write(f"{{ {real}\n}} </dev/null\nprintf '\\n<%d>\\n' $?\n")
        self.bash.stdin.flush()
        lines = []
        while not (end := re.fullmatch(r"<(\d+)>\n", line := self.bash.stdout.readline())):
            if not line:
                raise AssertionError(f"bash ended in: {command}")
            lines.append(line)
        out = "".join(lines)
        out = out[:-1] if out.endswith("\n\n") or out == "\n" else out
        return out.replace(BUILD, SHOWN_BUILD).replace(self.socket, SHOWN_SOCKET)

    @property
    def socket(self):
        return os.path.join(self.where, "hvd.sock")

    def close(self):
        self.bash.stdin.close()
        self.bash.wait(PATIENCE_S)
        self.bash.stdout.close()
        try:
            os.killpg(self.bash.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def words_only(text):
    """What must not change: numbers become N, and blanks that align them one blank."""
    text = re.sub(r"\b0x[0-9a-f]+\b", "N", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "N", text)
    text = re.sub(r"\d[\d,.]*", "N", text)
    text = re.sub(r"\bN\*?", "N", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def sessions(text):
    """(start, end, [(command, output)]) of each block."""
    for block in BLOCK.finditer(text):
        steps = []
        for line in block.group(1).splitlines(keepends=True):
            if line.startswith("$ "):
                steps.append([line[2:].rstrip("\n"), ""])
            else:
                steps[-1][1] += line
        yield block.start(1), block.end(1), steps


def run_all(text):
    """The text with the outputs of now, and [(command, expected, got)]."""
    results, out, at = [], "", 0
    with tempfile.TemporaryDirectory(prefix="hvd-readme-") as where:
        shell = Shell(where)
        try:
            for start, end, steps in sessions(text):
                out += text[at:start]
                for command, expected in steps:
                    got = shell.run(command)
                    results.append((command, expected, got))
                    out += f"$ {command}\n{got}"
                at = end
        finally:
            shell.close()
    return out + text[at:], results


def document(name):
    with open(os.path.join(SOURCE, name)) as f:
        return f.read()


class Documents(unittest.TestCase):
    def test_sessions(self):
        for name in DOCUMENTS:
            _, results = run_all(document(name))
            self.assertGreater(len(results), 8)
            for command, expected, got in results:
                with self.subTest(document=name, command=command):
                    self.assertEqual(words_only(got), words_only(expected), got)

    def test_python(self):
        """Python that they show runs, beside examples/hvd.py."""
        programs = [(name, block) for name in DOCUMENTS
                    for block in re.findall(r"(?ms)^```python\n(.*?)^```\n", document(name))]
        self.assertTrue(programs)
        for name, block in programs:
            with self.subTest(document=name), Daemon() as d:
                r = subprocess.run(
                    [sys.executable, "-B", "-c", block.replace(SHOWN_BUILD, BUILD)], cwd=SOURCE,
                    env={**os.environ, "PYTHONPATH": "examples", "HVD_SOCKET": d.socket},
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertEqual(r.returncode, 0, r.stderr)
                for vm in d.json("list")["vms"]:
                    d.retire(vm["vm"])

    def test_links(self):
        """Every file that they name is there."""
        for name in DOCUMENTS:
            links = re.findall(r"\]\(([^)#]+)\)", document(name))
            self.assertTrue(links)
            folder = os.path.dirname(os.path.join(SOURCE, name))
            for link in links:
                self.assertTrue(link.startswith("http")
                                or os.path.exists(os.path.join(folder, link)), link)


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        for document_name in DOCUMENTS:
            new, _ = run_all(document(document_name))
            with open(os.path.join(SOURCE, document_name), "w") as f:
                f.write(new)
    else:
        main()
