"""`docker run -p 9092:9092 ottla`: clients, health, start and stop."""

from __future__ import annotations

import re
import time

import clients
from checklist import check
from engine import Container, docker, network, volume
from images import IMAGE, SHELL

STOP_S_MAX = 1.0
PUBLISHED = ("--publish", "127.0.0.1:9092:9092")


@check("run/clients-on-the-machine-and-in-containers")
def _() -> None:
    with network("ottla-drill") as name, Container(IMAGE, options=(*PUBLISHED, "--network", name, "--name", "ottla")) as broker:
        started = time.monotonic()
        broker.start().wait_until_ready()
        ready_ms = 1e3 * (time.monotonic() - started)
        inside_ms = float(re.search(r"started in ([\d.]+) ms", broker.log())[1])
        print(f"docker: ready {inside_ms:.1f} ms after the process began, {ready_ms:.0f} ms after docker start", flush=True)
        clients.from_host("localhost:9092")
        clients.from_container("ottla:19092", name)


@check("run/on-the-default-bridge-by-address")
def _() -> None:
    with Container(IMAGE) as broker:
        broker.start().wait_until_ready()
        clients.from_container(f"{broker.inspect()['NetworkSettings']['IPAddress']}:19092")


@check("run/is-healthy-and-says-so-in-one-line")
def _() -> None:
    for image in (IMAGE, SHELL):
        with Container(image) as broker:
            broker.start().wait_until_healthy()
            said = broker.exec("ottla", "health")
            assert re.fullmatch(r"127\.0\.0\.1:9092: serves \d+ APIs, answered in [\d.]+ ms\n", said.stdout), said.stdout
            said = broker.exec("ottla", "health", "127.0.0.1:1", check=False)
            assert said.returncode == 1, said
            assert said.stdout == "127.0.0.1:1: Connection refused (os error 111)\n", said.stdout


def stop_s(image: str) -> float:
    with Container(image, options=PUBLISHED) as broker:
        broker.start().wait_until_ready()
        clients.from_host("localhost:9092")
        started = time.monotonic()
        docker("stop", broker.id)
        took_s = time.monotonic() - started
        state = broker.inspect()["State"]
        assert state["ExitCode"] == 0, f"{image}: exit status {state['ExitCode']}: {broker.log()[-300:]}"
        return took_s


@check("run/stops-within-a-second")
def _() -> None:
    for image in (IMAGE, SHELL):
        # Docker's own part is in it, and a machine has other things to do: the quickest of three.
        took_s = min(stop_s(image) for _ in range(3))
        print(f"docker: {image} stopped in {took_s * 1e3:.0f} ms", flush=True)
        assert took_s < STOP_S_MAX, f"{image}: {took_s:.2f} s"


@check("run/data-survives-the-container-and-kill-9")
def _() -> None:
    with volume("ottla-drill") as name:
        options = (*PUBLISHED, "--volume", f"{name}:/var/lib/kafka/data")
        values = [str(number) for number in range(1_000)]
        for end in ("stop", "kill", "stop"):
            with Container(IMAGE, options=options) as broker:
                broker.start().wait_until_ready()
                clients.produce("localhost:9092", "kept", values)
                docker(end, broker.id)
        with Container(IMAGE, options=options) as broker:
            broker.start().wait_until_ready()
            read = clients.consume("localhost:9092", "kept", 3 * len(values))
            assert read == 3 * values, f"{len(read)} records of {3 * len(values)}"


@check("run/a-volume-has-one-broker")
def _() -> None:
    with volume("ottla-drill") as name:
        options = ("--volume", f"{name}:/var/lib/kafka/data")
        with Container(IMAGE, options=options) as first, Container(IMAGE, options=options) as second:
            first.start().wait_until_ready()
            second.start()
            assert second.ended() == 1
            assert "in use by another broker" in second.log(), second.log()
