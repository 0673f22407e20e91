"""The suites on disk, and how one is run: a process that prints verdicts."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional

from report import LINE, note

TESTS = Path(__file__).resolve().parent.parent
REMOTE_PORT = os.environ.get("OTTLA_SUITES_PORT")  # docker/compose.compat.yaml
SETUP_LIMIT_S = 1_800
SILENCE_LIMIT_S = 180  # a check takes 60 s at most; a suite that says nothing for so long hangs


class Verdict(NamedTuple):
    verdict: str
    name: str
    reason: Optional[str] = None


class Suite(NamedTuple):
    name: str

    @property
    def command(self) -> List[str]:
        """Of the suite here, or of the one in a container of its name."""
        if REMOTE_PORT:
            return [sys.executable, str(TESTS / "harness" / "remote.py"), f"{self.name}:{REMOTE_PORT}"]
        return [str(TESTS / self.name / "suite")]

    def setup(self, log: Path) -> Optional[str]:
        """None, or why it failed."""
        with log.open("wb") as output:
            try:
                done = subprocess.run([*self.command, "setup"], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                      timeout=SETUP_LIMIT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        if done.returncode == 0:
            return None
        lines = log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {done.returncode}")
        return f"{last} (all of it: {log})"

    def profile(self) -> str:
        return subprocess.run([*self.command, "profile"], stdout=subprocess.PIPE, text=True, timeout=60,
                              check=True).stdout.strip()

    def checks(self, bootstrap: str, broker_alive: Callable[[], bool]) -> Iterator[Verdict]:
        return run([*self.command, "checks"], bootstrap, broker_alive)

    def write(self, bootstrap: str, topic: str, codec: str, count: int) -> Verdict:
        return self._one("write", bootstrap, topic, codec, str(count))

    def read(self, bootstrap: str, topic: str, count: int, profile: str) -> Verdict:
        return self._one("read", bootstrap, topic, str(count), profile)

    def _one(self, verb: str, bootstrap: str, *arguments: str) -> Verdict:
        """The verdict on one `write` or `read`: the first bad line, else ok if it left well."""
        said = list(run([*self.command, verb, *arguments], bootstrap, must_speak=verb == "read"))
        bad = [one for one in said if one.verdict != "ok"]
        return bad[0] if bad else Verdict("ok", verb)


def discover() -> List[Suite]:
    return [Suite(path.parent.name) for path in sorted(TESTS.glob("*/suite"))]


def run(command: List[str], bootstrap: Optional[str] = None, broker_alive: Callable[[], bool] = lambda: True,
        must_speak: bool = True, silence_s: float = SILENCE_LIMIT_S) -> Iterator[Verdict]:
    """The verdicts that `command` prints as it goes; its silence, its death and the broker's are verdicts too."""
    environment = dict(os.environ, **({"BOOTSTRAP": bootstrap} if bootstrap else {}))
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                                   errors="replace", env=environment, start_new_session=True)
    except OSError as error:
        yield Verdict("FAIL", "start", str(error))
        return
    lines: "queue.Queue[Optional[str]]" = queue.Queue()
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    spoken = failed = 0
    heard_at = time.monotonic()
    try:
        while True:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                if not broker_alive():
                    yield Verdict("FAIL", "broker", "the broker died")
                    return
                if time.monotonic() - heard_at > silence_s:
                    yield Verdict("FAIL", "silence", f"nothing said for {silence_s} s")
                    return
                continue
            if line is None:
                break
            heard_at = time.monotonic()
            found = LINE.match(line)
            if found:
                spoken += 1
                failed += found.group(1) == "FAIL"
                yield Verdict(*found.groups())
            elif line:
                note(f"  {line}")
        status = process.wait()
        if status and not failed:
            yield Verdict("FAIL", "exit", f"exit status {status}")
        elif must_speak and not spoken:
            yield Verdict("FAIL", "exit", "not one check ran")
    finally:
        _end(process)


def _pump(process: subprocess.Popen, lines: "queue.Queue[Optional[str]]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def _end(process: subprocess.Popen) -> None:
    """Ends the process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
