"""The images, built anew: size, user, and what must not be in them."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Dict, Set

from checklist import check
from engine import Container, DockerError, docker, streamed

ROOT = Path(__file__).resolve().parent.parent.parent.parent
BUILD_LIMIT_S = 3_000
SIZE_MB_MAX = 20

IMAGE, SHELL = "ottla", "ottla:shell"
# Testcontainers' modules read a version out of the tag; this one stands for a Kafka that has no ZooKeeper.
VERSIONED = "ottla:8.1.0"
# What --small builds the broker with: the same code, slower and larger.
QUICKLY = {"CARGO_PROFILE_RELEASE_OPT_LEVEL": "1", "CARGO_PROFILE_RELEASE_LTO": "off",
           "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
arguments: Dict[str, str] = {}


def build(tag: str, dockerfile: str, arguments: Dict[str, str]) -> None:
    flags = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    _run("docker", "build", "--tag", tag, "--file", f"docker/{dockerfile}", *flags, ".")


def make_base_images() -> None:
    _run("docker/dev/base-images")


def _run(*command: str) -> None:
    status, said = streamed(command, ROOT, BUILD_LIMIT_S)
    if status:
        raise DockerError(f"{' '.join(command)}: exit status {status}: {said.strip()[-300:]}")


@check("images/are-built")
def _() -> None:
    build(IMAGE, "Dockerfile", arguments)
    build(SHELL, "Dockerfile.shell", {})
    docker("tag", SHELL, VERSIONED)


@check("images/ottla-is-small-and-not-root")
def _() -> None:
    said = docker("image", "inspect", "-f", "{{.Size}} {{.Config.User}}", IMAGE).stdout.split()
    print(f"docker: the image has {int(said[0]) / 1e6:.1f} MB", flush=True)
    assert int(said[0]) < SIZE_MB_MAX * 1e6, f"{said[0]} bytes"
    assert said[1] == "1000:1000", said[1]


def files(image: str) -> Set[str]:
    """What is in it; docker itself adds empty ones."""
    with Container(image) as container, tempfile.NamedTemporaryFile(prefix="ottla-drill-") as archive:
        docker("export", "--output", archive.name, container.id)
        with tarfile.open(archive.name) as tar:
            return {entry.name for entry in tar if entry.isfile() and entry.size}


@check("images/nothing-of-this-machine-is-in-them")
def _() -> None:
    found = files(IMAGE)
    assert found == {"usr/local/bin/ottla", "etc/passwd", "etc/group"}, found
    certificates = {name for name in files(SHELL) if name.startswith(("etc/ssl/", "usr/local/share/ca-certificates/"))}
    assert not certificates, certificates
