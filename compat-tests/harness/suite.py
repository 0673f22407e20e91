"""The command line that every Python suite answers: setup (see suite_venv.py), profile, checks, write, read."""

from __future__ import annotations

import os
import sys
from typing import Callable

import behaviours
import checks
from formula import records

USAGE = "usage: suite setup | profile | checks | write TOPIC none|gzip|snappy|lz4|zstd N | read TOPIC N PROFILE"


def main(make: Callable[[str], behaviours.Client]) -> None:
    command, *arguments = sys.argv[1:] or [""]

    def client() -> behaviours.Client:
        return make(os.environ["BOOTSTRAP"])

    if command == "profile":
        print(make("").profile)
    elif command == "checks":
        checks.run_all(client)
    elif command == "write" and len(arguments) == 3:
        topic, codec, count = arguments
        sys.exit(not checks.run(f"write/{topic}", lambda: write(client(), topic, codec, int(count))))
    elif command == "read" and len(arguments) == 3:
        topic, count, profile = arguments
        checks.run(f"read/{topic}", lambda: behaviours.read_and_compare(client(), topic, int(count), profile))
    else:
        sys.exit(USAGE)


def write(client: behaviours.Client, topic: str, codec: str, count: int) -> None:
    try:
        client.create(topic)
    except Exception as error:
        if client.error_code(error) != checks.TOPIC_ALREADY_EXISTS:
            raise
    client.produce(topic, records(count, client.profile), codec)
