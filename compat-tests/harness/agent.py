"""Runs the commands of one suite for a conductor elsewhere (`remote.py`): `agent.py SUITE` listens on port 7000.

A connection is one command. The conductor sends a line of JSON, {"arguments": […], "environment": {…}}, and is sent lines
of JSON: {"stdout": "…"} and {"stderr": "…"} as the suite prints them, {"status": N} when it has ended. Where the conductor
goes away, the command is ended with all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

TESTS = Path(__file__).resolve().parent.parent
PORT = 7000


class Command(socketserver.StreamRequestHandler):
    suite: str

    def setup(self) -> None:
        super().setup()
        self._lock = threading.Lock()

    def handle(self) -> None:
        wanted = json.loads(self.rfile.readline())
        process = subprocess.Popen([str(TESTS / self.suite / "suite"), *wanted["arguments"]], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                   env={**os.environ, **wanted["environment"]})
        threading.Thread(target=self._end_with_conductor, args=(process,), daemon=True).start()
        pumps = [threading.Thread(target=self._pump, args=(name, getattr(process, name))) for name in ("stdout", "stderr")]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        self._say(status=process.wait())

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        for line in stream:
            self._say(**{name: line.decode(errors="replace").rstrip("\n")})

    def _say(self, **what: Any) -> None:
        try:
            with self._lock:
                self.wfile.write(json.dumps(what).encode() + b"\n")
        except OSError:
            pass  # the conductor has gone; the command is being ended

    def _end_with_conductor(self, process: subprocess.Popen) -> None:
        self.rfile.read()  # it sends no more: this returns when it has gone
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Command.suite = sys.argv[1]
    with Server(("", PORT), Command) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
