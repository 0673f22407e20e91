"""A suite that is elsewhere (`agent.py`), to whoever runs it the same as one that is here: `remote.py HOST:PORT COMMAND…`."""

from __future__ import annotations

import json
import os
import socket
import sys
import time

CONNECT_LIMIT_S = 120
PASSED_ON = ("BOOTSTRAP",)


def connect(address: str) -> socket.socket:
    """Waits for the other container to be there."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + CONNECT_LIMIT_S
    while True:
        try:
            connection = socket.create_connection((host, int(port)), timeout=5)
            connection.settimeout(None)
            return connection
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"no suite at {address}: {error}")
            time.sleep(0.2)


def main() -> None:
    address, *arguments = sys.argv[1:]
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with connect(address) as connection, connection.makefile("rw", encoding="utf-8") as lines:
        lines.write(json.dumps({"arguments": arguments, "environment": environment}) + "\n")
        lines.flush()
        for line in lines:
            said = json.loads(line)
            if "status" in said:
                sys.exit(said["status"] if said["status"] >= 0 else 128 - said["status"])
            print(said.get("stdout", said.get("stderr")), file=sys.stdout if "stdout" in said else sys.stderr, flush=True)
    sys.exit(f"the suite at {address} has gone")


if __name__ == "__main__":
    main()
