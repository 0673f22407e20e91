"""The broker under test, as a process."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import wire

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("OTTLA_BINARY") or ROOT / "target" / "release" / "ottla")

HOST = "127.0.0.1"
START_LIMIT_S = 30
STOP_LIMIT_S = 10

# The formula's timestamps lie years back: retention must not come by while a check reads them. Its first round does not
# wait for the interval.
OVERRIDES = {"log.retention.check.interval.ms": "86400000", "log.initial.task.delay.ms": "86400000"}


class BrokerError(Exception):
    pass


class Broker:
    """Starts on a free port over `home`/data, or the directories given; every start appends to `home`/broker.log."""

    def __init__(self, home: Path, *, data: Sequence[Path] = (), overrides: Optional[Mapping[str, str]] = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.data, self.log = list(data) or [home / "data"], home / "broker.log"
        self.overrides = {**OVERRIDES, **(overrides or {})}
        self.environment: Dict[str, str] = {}
        self.open_files: Optional[int] = None  # RLIMIT_NOFILE of the next start
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
        command = [str(BINARY), "--listen", self.bootstrap, "--data", ",".join(map(str, self.data))]
        for key, value in self.overrides.items():
            command += ["--override", f"{key}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, env={**os.environ, **self.environment},
                                            preexec_fn=self._limit if self.open_files else None)
        deadline = time.monotonic() + START_LIMIT_S
        while not wire.answers(self.host, self.port):
            if not self.alive():
                raise BrokerError(f"the broker left with {self.process.returncode} while starting")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerError(f"the broker does not answer within {START_LIMIT_S} s")
            time.sleep(0.02)
        return self

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

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
