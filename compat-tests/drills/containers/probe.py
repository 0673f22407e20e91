"""What the machine must give before a failure can be the images': the base images, and containers that mount a folder, reach
each other by name, and are reached on port 9092.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Optional

from clients import KCAT_IMAGE
from engine import Container, DockerError, docker, network
from images import build, make_base_images

WITHIN_S = 30
SAID = "reached"
ASK = "import urllib.request; print(urllib.request.urlopen('http://probe:9092/said', timeout=10).read().decode())"


def why_not() -> Optional[str]:
    """None, or what containers cannot do here."""
    if docker("info", "-f", "{{.Driver}}").stdout.strip() == "vfs":
        return "the daemon has no overlay file system: every layer would be a full copy"
    try:
        make_base_images()
        build(KCAT_IMAGE, "Dockerfile.compat", {"PACKAGES": "kcat"})
        _reach()
    except (DockerError, OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())[-400:]
    return None


def _reach() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder, network("ottla-drill") as name:
        Path(folder).chmod(0o755)
        (Path(folder) / "said").write_text(SAID)
        options = ("--entrypoint", "python3", "--network", name, "--network-alias", "probe", "--volume", f"{folder}:/probe:ro",
                   "--publish", "127.0.0.1:9092:9092")
        with Container(KCAT_IMAGE, "-m", "http.server", "--directory", "/probe", "9092", options=options) as server:
            server.start()
            _from_host(server)
            said = docker("run", "--rm", "--network", name, "--entrypoint", "python3", KCAT_IMAGE, "-c", ASK).stdout.strip()
            if said != SAID:
                raise DockerError(f"a container that asks another one is told {said!r}")


def _from_host(server: Container) -> None:
    deadline = time.monotonic() + WITHIN_S
    # Not by the proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            said = opener.open("http://127.0.0.1:9092/said", timeout=5).read().decode()
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise DockerError(f"a container's published port does not answer: {error}; {server.log()[-200:]}") from error
            time.sleep(0.1)
    if said != SAID:
        raise DockerError(f"who asks a container's published port is told {said!r}")
