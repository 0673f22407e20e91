"""The records that every suite writes and reads; README.md has the table."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Tuple

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

# The value that fills a topic's default max.message.bytes: a batch of one record without key and headers has 61 bytes
# of batch header and 11 bytes of record framing around it.
LARGEST_VALUE = 1_048_588 - 61 - 11

Header = Tuple[str, Optional[bytes]]


class Record(NamedTuple):
    key: Optional[bytes]
    value: Optional[bytes]
    headers: List[Header]
    timestamp: Optional[int]  # ms; None where the profile leaves it to the client


def record(i: int, profile: str = "full") -> Record:
    if profile == "plain":
        return Record(_text_key(i), _text_value(i), [], None)
    base, *suffixes = profile.split("-")
    if base != "full" or not {"nonull", "nodup", "noboth"}.issuperset(suffixes):
        raise ValueError(f"unknown profile {profile!r}")
    key, value, headers = _key(i), _value(i), _headers(i)
    if "nonull" in suffixes:
        headers = [(name, content) for name, content in headers if content is not None]
    if "nodup" in suffixes:
        headers = list(dict(headers).items())
    if "noboth" in suffixes and key is None and value is None:
        value = b""
    return Record(key, value, headers, timestamp(i))


def records(count: int, profile: str = "full", start: int = 0) -> Iterator[Record]:
    return (record(i, profile) for i in range(start, start + count))


def timestamp(i: int) -> int:
    return 1_700_000_000_000 + i * 10


def difference(i: int, got: Record, profile: str = "full") -> Optional[str]:
    """What is wrong with `got`, read as record `i`; None if nothing."""
    for field, actual, expected in zip(Record._fields, got, record(i, profile)):
        if field == "timestamp" and expected is None:
            continue
        if actual != expected:
            return f"record {i}: {field} is {_short(actual)}, expected {_short(expected)}"
    return None


def _key(i: int) -> Optional[bytes]:
    return {0: None, 1: b""}.get(i % 10, _text_key(i))


def _value(i: int) -> Optional[bytes]:
    return {3: None, 4: b"\xff\xfe\x00\x80%d" % i}.get(i % 7, _text_value(i))


def _headers(i: int) -> List[Header]:
    cases: List[List[Header]] = [
        [],
        [("h", b"%d" % i)],
        [("dup", b"a"), ("dup", b"b")],
        [("bin", b"\xff\x00\xfe"), ("null", None)],
        [("empty", b"")],
    ]
    return cases[i % 5]


def _text_key(i: int) -> bytes:
    return b"key-%d" % i


def _text_value(i: int) -> bytes:
    return b"value-%d-" % i + b"x" * (i * 37 % 211)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
