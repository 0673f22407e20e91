"""The broker under test, as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import List, Optional

import wire

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("OTTLA_BINARY") or ROOT / "target" / "release" / "ottla")

HOST = "127.0.0.1"
START_LIMIT_S = 30
STOP_LIMIT_S = 10

# The formula's timestamps lie years back: retention must not come by while a check reads them. Its first round does not
# wait for the interval.
OVERRIDES = ("log.retention.check.interval.ms=86400000", "log.initial.task.delay.ms=86400000")


class BrokerError(Exception):
    pass


class Broker:
    """Starts on a free port over `home`/data; every start appends to `home`/broker.log."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.data, self.log = home / "data", home / "broker.log"
        self.host, self.port = HOST, _free_port()
        self.process: Optional[subprocess.Popen] = None

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> "Broker":
        command = [str(BINARY), "--listen", self.bootstrap, "--data", str(self.data)]
        for override in OVERRIDES:
            command += ["--override", override]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        deadline = time.monotonic() + START_LIMIT_S
        while not wire.answers(self.host, self.port):
            if not self.alive():
                raise BrokerError(f"the broker left with {self.process.returncode} while starting")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerError(f"the broker does not answer within {START_LIMIT_S} s")
            time.sleep(0.02)
        return self

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM; the broker must be gone in time, and content."""
        assert self.process is not None
        if not self.alive():
            raise BrokerError(f"the broker had already left with {self.process.returncode}")
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerError(f"the broker does not stop within {STOP_LIMIT_S} s of SIGTERM") from None
        if status:
            raise BrokerError(f"the broker left with {status} after SIGTERM")

    def last_lines(self, count: int = 30) -> List[str]:
        return self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
