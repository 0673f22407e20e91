"""Docker: the daemon that answers, or one of our own that leaves no trace on the machine's network; and its command line."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from daemon import NEEDED, STOP_LIMIT_S, socket

START_LIMIT_S, COMMAND_LIMIT_S = 60, 120
# What the data of a whole drill takes, and some.
DISK_BYTES_MIN = 8 << 30


class DockerError(Exception):
    pass


class NoDaemon(Exception):
    """It does not start."""


def docker(*arguments: str, limit_s: float = COMMAND_LIMIT_S, stdin: Optional[bytes] = None, check: bool = True,
           env: Optional[Dict[str, str]] = None) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(["docker", *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=limit_s, env={**os.environ, **(env or {})})
    if check and done.returncode:
        raise DockerError(f"docker {' '.join(arguments[:2])}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(errors="replace"),
                                       done.stderr.decode(errors="replace"))


def streamed(command: Sequence[str], cwd: Path, limit_s: float, env: Optional[Dict[str, str]] = None) -> Tuple[int, str]:
    """The exit status and all that was said, which is passed on as it comes: these commands take minutes."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", env={**os.environ, **(env or {})})
    late = threading.Timer(limit_s, process.kill)
    late.start()
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            print(f"  {line.rstrip()}", flush=True)
        return process.wait(), "".join(said)
    finally:
        late.cancel()
        process.kill()
        process.wait()


def answers() -> bool:
    try:
        return shutil.which("docker") is not None and docker("info", check=False, limit_s=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def why_not(data: Path) -> Optional[str]:
    """None, or why there is no daemon and none can be started."""
    if answers():
        return None
    missing = [command for command in NEEDED if not shutil.which(command)]
    data.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        lacking = "needs root"
    elif missing:
        lacking = f"lacks {', '.join(missing)}"
    elif shutil.disk_usage(data).free < DISK_BYTES_MIN:
        lacking = f"needs {DISK_BYTES_MIN >> 30} GiB in {data}"
    else:
        return None
    return f"no docker daemon answers, and to start one {lacking}"


@contextmanager
def daemon(home: Path, data: Path) -> Iterator[None]:
    """The daemon that answers; else one that is started here and stopped again."""
    if answers():
        yield
        return
    home.mkdir(parents=True, exist_ok=True)
    log = home / "dockerd.log"
    command = [sys.executable, str(Path(__file__).resolve().parent / "daemon.py"), str(home), str(data)]
    with log.open("wb") as output:
        own = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True)
    assert own.stdin is not None
    os.environ["DOCKER_HOST"] = socket(home)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not answers():
            if own.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise NoDaemon(f"dockerd does not start: {''.join(last)}")
            time.sleep(0.2)
        yield
    finally:
        own.stdin.close()
        own.wait(2 * STOP_LIMIT_S)
        del os.environ["DOCKER_HOST"]


class Container:
    """A container, removed with its anonymous volumes when the `with` ends."""

    def __init__(self, image: str, *command: str, env: Optional[Dict[str, Any]] = None, options: Sequence[str] = ()) -> None:
        settings = [part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")]
        self.id = docker("create", *settings, *options, image, *command).stdout.strip()

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: Any) -> None:
        docker("rm", "--force", "--volumes", self.id, check=False)

    def start(self) -> "Container":
        docker("start", self.id)
        return self

    def inspect(self) -> Dict[str, Any]:
        return json.loads(docker("inspect", self.id).stdout)[0]

    def mapped(self, port: int) -> int:
        return int(docker("port", self.id, f"{port}/tcp").stdout.splitlines()[0].rsplit(":", 1)[1])

    def stdout(self) -> str:
        return docker("logs", self.id).stdout

    def log(self) -> str:
        said = docker("logs", self.id)
        return said.stdout + said.stderr

    def exec(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return docker("exec", self.id, *command, check=check)

    def put(self, path: str, text: str) -> None:
        """Copies a file in as tools do: as root, whoever the container's user is."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(text.encode()), 0o777, int(time.time())
            tar.addfile(entry, io.BytesIO(text.encode()))
        docker("cp", "-", f"{self.id}:/", stdin=archive.getvalue())

    def wait_for(self, true: Any, what: str, within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            if not self.inspect()["State"]["Running"] or time.monotonic() > deadline:
                raise DockerError(f"{what}: not within {within_s} s; the container says: {self.log()[-800:]}")
            time.sleep(0.05)

    def wait_until_healthy(self) -> None:
        self.wait_for(lambda: self.inspect()["State"]["Health"]["Status"] == "healthy", "healthy")

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: "Kafka Server started" in self.log(), "the line that says it has started")

    def ended(self, within_s: int = 30) -> int:
        """The exit status of one that ends by itself."""
        return int(docker("wait", self.id, limit_s=within_s).stdout)


@contextmanager
def network(name: str) -> Iterator[str]:
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, check=False)


@contextmanager
def volume(name: str) -> Iterator[str]:
    docker("volume", "create", name)
    try:
        yield name
    finally:
        docker("volume", "rm", "--force", name, check=False)


def lines(text: str) -> List[str]:
    return [line for line in text.splitlines() if line.strip()]
