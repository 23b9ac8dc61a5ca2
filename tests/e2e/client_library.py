# SPDX-License-Identifier: MIT
"""libhvd as it is installed: programs are built against it and speak to a real daemon.

The tree is installed below a temporary prefix; compilers find the library by pkg-config alone.
"""
import shlex
import shutil

from hvctl_harness import *

EXAMPLES = os.path.join(SOURCE, "examples")
WARNINGS = "-std=c11 -Wall -Wextra -Wpedantic -Werror -O1".split()

# Includes the header twice and nothing else before it, in C and in C++.
HEADER_ALONE = """
#include <hvd/client.h>
#include <hvd/client.h>
int main(void)
{
	struct hvd_client *client;
	struct hvd_error err;
	struct json_object *result;
	if (hvd_client_open(0, &client, &err) < 0)
		return 1;
	if (hvd_client_call(client, "daemon.info", 0, 0, 0, &result, &err) < 0)
		return 2;
	json_object_put(result);
	if (hvd_client_call(client, "no.such", 0, 0, 0, &result, &err) >= 0 || err.code != -32601)
		return 3;
	hvd_client_close(client);
	return 0;
}
"""


def sanitizers():
    """Flags that a program needs which links a library built with sanitizers."""
    with open(os.path.join(BUILD, "CMakeCache.txt")) as f:
        cache = f.read()
    value = re.search(r"^HVD_SANITIZE:STRING=(.*)$", cache, re.M).group(1)
    return [f"-fsanitize={value}"] if value else []


def compiler():
    with open(os.path.join(BUILD, "CMakeCache.txt")) as f:
        return re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", f.read(), re.M).group(1)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="hvd-install-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.prefix = os.path.join(cls.dir, "prefix")
        cls.tool("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "hvd-dev")
        cls.lib = os.path.dirname(cls.find("hvd.pc"))
        cls.flags = {static: cls.pkg_config(*(["--static"] if static else []))
                     for static in (False, True)}

    @classmethod
    def tool(cls, *words, **more):
        r = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=PATIENCE_S, **more)
        if r.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: {r.returncode}\n{r.stdout}{r.stderr}")
        return r.stdout

    @classmethod
    def find(cls, name):
        for where, _, files in os.walk(cls.prefix):
            if name in files:
                return os.path.join(where, name)
        raise AssertionError(f"{name} is not installed")

    @classmethod
    def pkg_config(cls, *options):
        env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(cls.find("hvd.pc"))}
        return shlex.split(cls.tool("pkg-config", *options, "--cflags", "--libs", "hvd", env=env))

    def build(self, source, *, static=False, language="c"):
        program = os.path.join(self.dir, "program")
        flags = list(self.flags[static])
        if static:
            flags = [self.find("libhvd.a") if f == "-lhvd" else f for f in flags]
        words = WARNINGS if language == "c" else ["-Wall", "-Wextra", "-Werror"]
        self.tool(compiler(), *words, "-x", language, source, "-x", "none", "-o", program,
                  *flags, *sanitizers())
        return program

    def run_program(self, daemon, *words):
        """Its output; libraries come from the prefix alone."""
        env = {**os.environ, "HVD_SOCKET": daemon.socket,
               "LD_LIBRARY_PATH": os.path.dirname(self.find("libhvd.so.0"))}
        return self.tool(*words, env=env)

    def test_remap(self):
        """examples/remap.c, with the shared and with the static library."""
        with Daemon() as d:
            for static in False, True:
                program = self.build(os.path.join(EXAMPLES, "remap.c"), static=static)
                needed = self.tool("readelf", "-d", program)
                self.assertEqual("libhvd.so.0" in needed, not static)
                out = self.run_program(d, program, guest("remap.elf"))
                self.assertEqual(out.splitlines()[0],
                                 "remapped: 512 EPT entries written, INVEPT single-context: "
                                 "page-size-changed")
                self.assertEqual(re.findall('read "(.*)"', out), ["OLD", "NEW"])
                self.assertEqual(d.json("list")["vms"], [])

    def test_header_alone(self):
        """The header needs no other, says "C" to C++, and is all that is installed."""
        source = os.path.join(self.dir, "alone")
        with open(source, "w") as f:
            f.write(HEADER_ALONE)
        with Daemon() as d:
            self.run_program(d, self.build(source))
            if subprocess.run([compiler(), "-x", "c++", "-fsyntax-only", "/dev/null"],
                              capture_output=True).returncode == 0:
                self.run_program(d, self.build(source, language="c++"))
        headers = os.path.dirname(self.find("client.h"))
        self.assertEqual(os.listdir(headers), ["client.h"])

    def test_refusal(self):
        """What a daemon refuses reaches whoever called, by name."""
        with Daemon() as d:
            program = self.build(os.path.join(EXAMPLES, "remap.c"))
            d.ok("create", "demo", guest("remap.elf"))
            with self.assertRaises(AssertionError) as e:
                self.run_program(d, program, guest("remap.elf"))
            self.assertIn("remap: vm.create: name: ", str(e.exception))
            d.retire("demo")


if __name__ == "__main__":
    main()
