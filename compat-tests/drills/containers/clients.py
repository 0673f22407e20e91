"""Clients of a broker in a container: one on the machine, and one in a container beside it."""

from __future__ import annotations

import secrets
from typing import List, Optional

from confluent_kafka import Consumer, Producer

from engine import docker

KCAT_IMAGE = "ottla-compat-kcat"
LIMIT_S = 30


def produce(bootstrap: str, topic: str, values: List[str]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": LIMIT_S * 1000, "enable.idempotence": True})
    failed: List[str] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(str(error)) if error else None)
    left = producer.flush(LIMIT_S)
    assert not left and not failed, f"produce to {bootstrap}: {left} unanswered, {failed[:1]}"


def consume(bootstrap: str, topic: str, count: int) -> List[str]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"g-{secrets.token_hex(4)}",
                         "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        return [message.value().decode() for message in consumer.consume(count, LIMIT_S) if not message.error()]
    finally:
        consumer.close()


def from_host(bootstrap: str) -> None:
    """Produces and consumes on this machine."""
    topic, values = f"host-{secrets.token_hex(4)}", [f"value-{number}" for number in range(100)]
    produce(bootstrap, topic, values)
    read = consume(bootstrap, topic, len(values))
    assert sorted(read) == sorted(values), f"from the machine by {bootstrap}: read {len(read)} of {len(values)}"


def from_container(bootstrap: str, network: Optional[str] = None) -> None:
    """Produces and consumes in a container, with kcat."""
    topic, value = f"inside-{secrets.token_hex(4)}", f"value-{secrets.token_hex(4)}"
    script = (f"echo {value} | kcat -b {bootstrap} -t {topic} -P -X message.timeout.ms={LIMIT_S * 1000} && "
              f"timeout {LIMIT_S} kcat -b {bootstrap} -t {topic} -C -e -q")
    where = ["--network", network] if network else []
    said = docker("run", "--rm", *where, "--entrypoint", "sh", KCAT_IMAGE, "-c", script, check=False)
    assert said.stdout.strip() == value, f"from a container by {bootstrap}: {said.stdout.strip()!r} {said.stderr.strip()[-300:]}"
