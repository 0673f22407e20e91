"""The compose files: one broker for both sides, and the client suites in containers."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import clients
from checklist import Skip, check
from engine import DockerError, docker, lines, streamed
from images import ROOT

LIMIT_S = 3_500
SUITES = "compose.compat.yaml"
COUNTS = re.compile(r"(\d+) passed, (\d+) failed(?:, \d+ skipped)?$")
NOT_INSTALLED = re.compile(r"FAIL \S+/setup:")
FAKE_SUITE = """#!/bin/sh
case $1 in profile) echo full;; checks) echo "FAIL made-to-fail: for the drill";; esac
"""
# What --small runs; everything without it.
few: List[str] = []


class Project:
    def __init__(self, *files: str) -> None:
        if docker("compose", "version", check=False).returncode == 0:
            command = ["docker", "compose"]
        elif shutil.which("docker-compose"):
            command = ["docker-compose"]
        else:
            raise Skip("there is neither `docker compose` nor docker-compose")
        self.command = [*command, "--project-name", "ottla-drill"]
        for file in files:
            self.command += ["--file", file]

    def __call__(self, *arguments: str, env: Optional[Dict[str, str]] = None, check: bool = True) -> Tuple[int, str]:
        status, said = streamed([*self.command, *arguments], ROOT, LIMIT_S, env)
        if check and status:
            raise DockerError(f"compose {arguments[0]}: exit status {status}: {said[-500:]}")
        return status, said


@contextmanager
def project(*files: str) -> Iterator[Project]:
    one = Project(*files)
    try:
        yield one
    finally:
        one("down", "--timeout", "2", *([] if SUITES in files[0] else ["--volumes"]), check=False)


def files_for_suites() -> List[str]:
    """With this machine's certificates, where its registries need them."""
    own = ["docker/dev/compose.ca.yaml"] if any(map(os.environ.get, ("PIP_CERT", "SSL_CERT_FILE"))) else []
    return [f"docker/{SUITES}", *own]


def run_suites(extra: Sequence[str], names: Sequence[str], also: Sequence[str] = ()) -> Tuple[int, int, int, List[str]]:
    """The exit status, the counts, and all that was said."""
    with project(*files_for_suites(), *extra) as compose:
        # Not the broker, whose image is there.
        compose("build", *(names or [path.parent.name for path in sorted((ROOT / "compat-tests").glob("*/suite"))]), "compat")
        env = {"OTTLA_COMPAT_NAMES": " ".join([*names, *also]),
               "OTTLA_SMALL": "1" if few else os.environ.get("OTTLA_SMALL", "")}
        started = ["broker", *names, "compat"] if names else []
        status, output = compose("up", "--no-color", "--exit-code-from", "compat", *started, env=env, check=False)
    said = [line.split("|", 1)[1].strip() for line in output.splitlines() if line.startswith("compat") and "|" in line]
    counts = [found for found in map(COUNTS.match, said) if found]
    assert counts, f"no counts; exit status {status}: {output[-600:]}"
    failures = [line for line in said if line.startswith("FAIL ")]
    if failures and all(NOT_INSTALLED.match(line) for line in failures):
        raise Skip(f"a client cannot be installed in a container: {failures[0]}")
    return status, int(counts[-1][1]), int(counts[-1][2]), said


@check("compose/a-client-on-either-side-at-once")
def _() -> None:
    with project("docker/compose.yaml") as compose:
        compose("up", "--detach", "--no-build")
        container = lines(compose("ps", "--quiet", "broker")[1])[-1].strip()
        network = docker("inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}", container).stdout.strip()
        clients.from_host("localhost:9092")
        clients.from_container("broker:19092", network)


@check("compose/the-client-suites-end-with-their-counts")
def _() -> None:
    status, passed, failed, said = run_suites([], few, ["cross"] if few else [])
    print(f"docker: compose.compat.yaml: {passed} passed, {failed} failed, exit status {status}", flush=True)
    assert (status, failed) == (0, 0) and passed > 20, [line for line in said if line.startswith("FAIL")][:3]


@check("compose/a-suite-that-fails-is-counted-and-fails-all")
def _() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder:
        fake, override = Path(folder) / "suite", Path(folder) / "compose.yaml"
        fake.write_text(FAKE_SUITE)
        fake.chmod(0o755)
        there = "/ottla/compat-tests/python-kafka/suite"
        override.write_text(f"services: {{python-kafka: {{volumes: ['{fake}:{there}:ro']}}}}\n")
        status, passed, failed, said = run_suites([str(override)], ["kcat", "python-kafka"])
        assert status == 1 and failed >= 1 and passed >= 1, (status, passed, failed)
        assert "FAIL python-kafka/made-to-fail: for the drill" in said, said[-5:]
