"""The images, built anew: size, user, and what must not be in them."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from checklist import check
from engine import DockerError, docker, streamed

ROOT = Path(__file__).resolve().parent.parent.parent.parent
BUILD_LIMIT_S = 3_000
SIZE_MB_MAX = 20

IMAGE, SHELL = "ottla", "ottla:shell"
# Testcontainers' modules read a version out of the tag; this one stands for a Kafka that has no ZooKeeper.
VERSIONED = "ottla:8.1.0"
SUITES = {"ottla-compat-kcat": "kcat"}
# What --small builds the broker with: in a third of the time, and a megabyte larger.
QUICKLY = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
arguments: Dict[str, str] = {}


def build(tag: str, dockerfile: str, arguments: Dict[str, str]) -> None:
    flags = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    _run("docker", "build", "--tag", tag, "--file", f"docker/{dockerfile}", *flags, ".")


def _run(*command: str) -> None:
    status, said = streamed(command, ROOT, BUILD_LIMIT_S)
    if status:
        raise DockerError(f"{' '.join(command)}: exit status {status}: {said[-300:]}")


@check("images/base-images-are-there")
def _() -> None:
    _run("docker/dev/base-images")


@check("images/are-built")
def _() -> None:
    build(IMAGE, "Dockerfile", arguments)
    build(SHELL, "Dockerfile.shell", {})
    docker("tag", SHELL, VERSIONED)
    for tag, packages in SUITES.items():
        build(tag, "Dockerfile.compat", {"PACKAGES": packages})


@check("images/ottla-is-small-and-not-root")
def _() -> None:
    said = docker("image", "inspect", "-f", "{{.Size}} {{.Config.User}}", IMAGE).stdout.split()
    print(f"docker: the image has {int(said[0]) / 1e6:.1f} MB", flush=True)
    assert int(said[0]) < SIZE_MB_MAX * 1e6, f"{said[0]} bytes"
    assert said[1] == "1000:1000", said[1]


@check("images/nothing-of-this-machine-is-in-them")
def _() -> None:
    for image in (IMAGE, SHELL):
        history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
        assert "ca-certificates" not in history, f"{image}: certificates"
