"""The two requests that the harness speaks itself: ApiVersions v0 (is it up?) and CreateTopics v2."""

from __future__ import annotations

import socket
import struct
from typing import Dict, Optional

TIMEOUT_S = 10


class WireError(Exception):
    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: error code {code}")
        self.code = code


def answers(host: str, port: int) -> bool:
    """Whether a broker answers ApiVersions there."""
    try:
        [error] = struct.unpack_from(">h", _ask(host, port, api_key=18, version=0, body=b"", timeout_s=1))
    except (OSError, struct.error):
        return False
    return error == 0


def create_topic(host: str, port: int, topic: str, partitions: int = 1,
                 configs: Optional[Dict[str, str]] = None) -> None:
    entries = b"".join(_string(name) + _string(value) for name, value in (configs or {}).items())
    wanted = _string(topic) + struct.pack(">ihi", partitions, 1, 0) + struct.pack(">i", len(configs or {})) + entries
    body = struct.pack(">i", 1) + wanted + struct.pack(">ib", TIMEOUT_S * 1000, 0)
    answer = _ask(host, port, api_key=19, version=2, body=body, timeout_s=TIMEOUT_S)
    # throttle_time_ms i32, count i32, name string, error_code i16
    [name_length] = struct.unpack_from(">h", answer, 8)
    [error] = struct.unpack_from(">h", answer, 10 + name_length)
    if error:
        raise WireError(f"create topic {topic}", error)


def _ask(host: str, port: int, *, api_key: int, version: int, body: bytes, timeout_s: float) -> bytes:
    """The response's body, behind its correlation id."""
    request = struct.pack(">hhi", api_key, version, 1) + _string("compat-tests") + body
    with socket.create_connection((host, port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(struct.pack(">i", len(request)) + request)
        [length] = struct.unpack(">i", _exactly(connection, 4))
        return _exactly(connection, length)[4:]


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise ConnectionError("the broker closed the connection")
        received += part
    return received


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()
