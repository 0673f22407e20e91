"""What a suite needs from the system before its own setup can work, and the Debian packages that bring it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Callable, Iterable, List, NamedTuple

from report import note


class Need(NamedTuple):
    what: str
    package: str
    present: Callable[[], bool]


def _command(name: str, package: str) -> Need:
    return Need(name, package, lambda: shutil.which(name) is not None)


def _has_ensurepip() -> bool:
    return subprocess.run([sys.executable, "-c", "import ensurepip"], stderr=subprocess.DEVNULL).returncode == 0


VENV = Need("python3 venv", "python3-venv", _has_ensurepip)
NEEDS = {
    "python-confluent": [VENV],
    "python-kafka": [VENV],
    "python-aiokafka": [VENV],
    "kcat": [_command("kcat", "kcat")],
    "node-kafkajs": [_command("node", "nodejs"), _command("npm", "npm")],
    "node-platformatic": [_command("node", "nodejs"), _command("npm", "npm")],
    "java": [_command("javac", "default-jdk-headless"), _command("mvn", "maven")],
    "rust": [_command("cc", "build-essential"), _command("make", "build-essential")],
    "sendfile": [_command("strace", "strace")],
    "diskfull": [_command("mount", "mount")],
    "ioerror": [_command("cc", "build-essential")],
    "clock": [_command("cc", "build-essential")],
}


def install(names: Iterable[str]) -> None:
    """Installs what is missing where it can; says what is missing where it cannot. Setups find out the rest."""
    missing = [need for name in names for need in NEEDS.get(name, []) if not need.present()]
    packages: List[str] = sorted({need.package for need in missing})
    if not packages:
        return
    note(f"missing: {', '.join(sorted({need.what for need in missing}))}")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        note(f"install them first, on Debian: apt-get install {' '.join(packages)}")
        return
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-qq"], stdout=sys.stderr, env=quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], stdout=sys.stderr,
                   env=quiet)
