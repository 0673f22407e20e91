"""Faults put between a broker and its system (drills/shim/faults.c), where there is a C compiler for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import drill
from broker import Broker

SOURCE = Path(__file__).resolve().parent.parent / "drills" / "shim" / "faults.c"


class Faults:
    def __init__(self, home: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise drill.Skip("no C compiler")
        home.mkdir(parents=True, exist_ok=True)
        self.library, self.switch = home / "faults.so", home / "faults.switch"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(self.library), str(SOURCE)], check=True)

    def between(self, broker: Broker) -> Broker:
        """From its next start on."""
        broker.environment = {"LD_PRELOAD": str(self.library), "FAULTS": str(self.switch)}
        return broker

    def set(self, line: str) -> None:
        # Replaced as a whole: it is read at any time.
        fresh = self.switch.with_suffix(".new")
        fresh.write_text(line)
        os.replace(fresh, self.switch)

    def clear(self) -> None:
        self.switch.unlink(missing_ok=True)
