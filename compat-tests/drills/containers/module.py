"""testcontainers-python's own Kafka module against the image."""

from __future__ import annotations

import os

# Its helper that removes containers of tests that died is an image of its own.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.community.kafka import KafkaContainer

import clients
from checklist import check
from images import VERSIONED


@check("testcontainers/the-python-module")
def _() -> None:
    with KafkaContainer(VERSIONED).with_kraft() as kafka:
        clients.from_host(kafka.get_bootstrap_server())


@check("testcontainers/the-python-module-as-it-is-without-kraft")
def _() -> None:
    with KafkaContainer(VERSIONED) as kafka:
        clients.from_host(kafka.get_bootstrap_server())
