"""docs/recipes, run as they are written: each file in them is a fenced block under a line with its name alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict

import clients
from checklist import check
from compose import project
from engine import Container, docker, network
from images import IMAGE, ROOT

RECIPES = ROOT / "docs" / "recipes"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT_S = 300


def files(recipe: str) -> Dict[str, str]:
    found = dict(FILE.findall((RECIPES / f"{recipe}.md").read_text()))
    assert found, f"{recipe}.md names no file"
    return found


def pytest(conftest: str, path: str) -> None:
    recipe = files("pytest")
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder:
        (Path(folder) / "conftest.py").write_text(recipe[conftest])
        (Path(folder) / "test_greetings.py").write_text(recipe["test_greetings.py"])
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S,
                              env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "TESTCONTAINERS_RYUK_DISABLED": "true"})
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-600:]


@check("recipes/pytest")
def _() -> None:
    pytest("conftest.py", "")


@check("recipes/pytest-without-a-container")
def _() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder, Container(IMAGE) as container:
        docker("cp", f"{container.id}:/usr/local/bin/ottla", f"{folder}/ottla")
        pytest("without-container/conftest.py", folder)


@check("recipes/compose-with-an-application")
def _() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder:
        for name, text in files("compose").items():
            (Path(folder) / name).write_text(text)
        with project(f"{folder}/compose.yaml") as compose:
            said = compose("up", "--no-color", "--build", "--exit-code-from", "application")[1]
            assert re.search(r"^application.*\| hello$", said, re.MULTILINE), said[-600:]
            compose("up", "--detach", "broker")
            assert clients.consume("localhost:9092", "greetings", 1) == ["hello"]


@check("recipes/a-service-container")
def _() -> None:
    with network("ottla-drill") as name:
        options = ("--network", name, "--network-alias", "kafka", "--publish", "127.0.0.1:9092:9092")
        with Container(IMAGE, options=options) as service:
            service.start().wait_until_healthy()
            clients.from_host("localhost:9092")
            clients.from_container("kafka:19092", name)
