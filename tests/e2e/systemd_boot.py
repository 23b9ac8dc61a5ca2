# SPDX-License-Identifier: MIT
"""Boots a Debian with hvd installed in it, and lets systemd_inside.py operate it there.

The container is this machine's own Debian, under an overlay that takes every change and goes
with the test; systemd-nspawn boots it. Nothing is downloaded, and no unit of the machine's is
started but what systemd itself needs. Exit status 77: it can't be done here."""
import os
import shutil
import subprocess
import sys
import tempfile
import uuid

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.realpath(os.environ.get("HVD_BUILD", os.path.join(SOURCE, "build", "release")))
PATIENCE_S = 240

UNIT = f"""[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket dbus.socket
After=systemd-journald.socket dbus.socket sysinit.target
Wants=sysinit.target
[Service]
Type=oneshot
Environment=HVD_BUILD={BUILD} HOME=/root
ExecStart=/usr/bin/python3 {SOURCE}/tests/e2e/systemd_inside.py
ExecStopPost=/bin/sh -c 'echo "$EXIT_STATUS" >/hvd-test.status'
ExecStopPost=/bin/systemctl --force --force poweroff
StandardOutput=append:/hvd-test.out
StandardError=inherit
"""


def impossible():
    """Why the test can't be made here; None if it can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not installed (systemd-container)"
    with open("/proc/filesystems", encoding="ascii") as f:
        if "overlay" not in f.read().split():
            return "the kernel has no overlay file system"
    return None


def run(*words, **options):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, **options)


def make_root(folder):
    """An overlay over / at folder/root: changes go to a tmpfs."""
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "hvd-test", folder)
    for name in ("changes", "work", "root"):
        os.mkdir(os.path.join(folder, name))
    root = os.path.join(folder, "root")
    run("mount", "-t", "overlay", "hvd-test", root, "-o",
        f"lowerdir=/,upperdir={folder}/changes,workdir={folder}/work")
    return root


def install(root):
    run("cmake", "--install", BUILD, "--component", "hvd", stdout=subprocess.DEVNULL,
        env={**os.environ, "DESTDIR": root})
    with open(os.path.join(root, "etc/systemd/system/hvd-test.service"), "w",
              encoding="ascii") as f:
        f.write(UNIT)
    with open(os.path.join(root, "etc/machine-id"), "w", encoding="ascii"):
        pass
    shutil.rmtree(os.path.join(root, "etc/hvd"), ignore_errors=True)
    shutil.rmtree(os.path.join(root, "var/lib/hvd"), ignore_errors=True)


def boot(root):
    name = f"hvd-test-{os.getpid()}"
    words = ["systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={name}",
             f"--uuid={uuid.uuid4()}", "--register=no", "--keep-unit", "--link-journal=no",
             "--console=pipe", "--private-network", f"--bind-ro={SOURCE}", f"--bind-ro={BUILD}",
             "--boot", "systemd.unit=hvd-test.service"]
    container = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
    try:
        _, said = container.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        print(f"the container has not ended within {PATIENCE_S} s", flush=True)
        container.kill()
        _, said = container.communicate()
    # where /run is no file system of its own, nspawn leaves this behind
    try:
        os.rmdir(f"/run/systemd/nspawn/propagate/{name}")
    except OSError:
        pass
    return said.decode(errors="replace")


def show(root, said):
    """Prints what was tried inside; the status of the tests there."""
    try:
        with open(os.path.join(root, "hvd-test.out"), encoding="utf-8", errors="replace") as f:
            text = f.read().replace("Powering off.\n", "")
        print(text, end="")
        with open(os.path.join(root, "hvd-test.status"), encoding="ascii") as f:
            return int(f.read().strip() or "1")
    except OSError as e:
        print(f"nothing was tried inside: {e}\n{said}")
        return 1


def main():
    reason = impossible()
    if reason:
        print(f"skipped: {reason}")
        return 77
    if "--unshared" not in sys.argv:
        # what is mounted goes with the process, however it ends
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--",
                              sys.executable, __file__, "--unshared"])
    folder = tempfile.mkdtemp(prefix="hvd-boot-")
    try:
        root = make_root(folder)
        install(root)
        return show(root, boot(root))
    finally:
        subprocess.run(["umount", "-l", os.path.join(folder, "root")], check=False,
                       stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)
        os.rmdir(folder)


if __name__ == "__main__":
    sys.exit(main())
