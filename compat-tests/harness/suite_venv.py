"""A Python suite's own virtual environment, below the cache directory.

A script calls `enter` before it imports its client: `SCRIPT setup` installs, anything else goes on inside.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HARNESS = Path(__file__).resolve().parent


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OTTLA_COMPAT_CACHE") or Path(base) / "ottla-compat")


def enter(suite: Path, install: bool = False) -> None:
    """Makes the rest of this script run with the packages of `suite`/requirements.txt; `install`s them where that is said."""
    home = cache() / suite.name / "venv"
    if sys.argv[1:] == ["setup"]:
        _install(home, suite / "requirements.txt")
        sys.exit(0)
    if Path(sys.prefix).resolve() == home.resolve():
        return
    if install:
        _install(home, suite / "requirements.txt")
    if not (home / "stamp").exists():
        sys.exit(f"{suite.name} is not set up: run `{suite}/suite setup` first")
    python = str(home / "bin" / "python")
    os.execv(python, [python, *sys.argv])


def _install(home: Path, requirements: Path) -> None:
    pinned = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "stamp"
    if stamp.exists() and stamp.read_text() == pinned:
        return
    try:
        venv.create(home, clear=True, with_pip=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"cannot make a virtual environment in {home} (Debian: apt-get install python3-venv): {error}")
    pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--quiet", "-r", str(requirements)], stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"pip could not install {requirements} (exit {done.returncode})")
    stamp.write_text(pinned)
