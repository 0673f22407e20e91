"""What every drill is made of: a broker of its own, a producer that keeps books, and an audit of everything stored.

A drill's `body(broker, options)` yields `(check, {what: count that must be 0}, *reasons)`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import suite_venv

suite_venv.enter(Path(__file__).resolve().parent.parent / "python-confluent")

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

import wire
from broker import Broker, BrokerError

RECONNECT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
DRAIN_LIMIT_S, READ_LIMIT_S = 120, 300
BATCH_BYTES = 16_000  # drills have small segments


class Skip(Exception):
    """The drill cannot be had here."""


def main(name: str, doc: str, body: Callable[[Path, argparse.Namespace], Iterator[Tuple]],
         rounds: int, brokers: List[Broker]) -> None:
    """Runs the drill; every broker that it makes goes into `brokers`, whose processes are ended whatever happens."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N")
    parser.add_argument("--home", type=Path, help="directory for the broker's data and log (default: a temporary one)")
    options = parser.parse_args()
    home = options.home or Path(tempfile.mkdtemp(prefix=f"ottla-{name}-"))
    failed = False
    try:
        for check, counts, *reasons in body(home, options):
            wrong = [f"{count} {what}" for what, count in counts.items() if count] + reasons[:3]
            failed |= bool(wrong)
            print(f"FAIL {check}: {', '.join(wrong)}" if wrong else f"ok {check}", flush=True)
    except Skip as reason:
        print(f"skip {name}: {reason}")
    except (BrokerError, TimeoutError, OSError, wire.WireError, KafkaException) as error:
        failed = True
        print(f"FAIL {name}: {type(error).__name__} {error}")
    finally:
        for broker in brokers:
            if broker.alive():
                broker.kill()
    if failed:
        for broker in brokers:
            print("\n".join([f"--- {broker.log}", *broker.last_lines()]), file=sys.stderr)
    sys.stdout.flush()
    sys.exit(failed)


class Book(threading.Thread):
    """Produces numbered records to one topic until told to stop, and keeps which of them was acknowledged at which offset."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, *, keys: int = 0, padding: int = 100,
                 pause_s: float = 0.0, **settings: Any) -> None:
        super().__init__(daemon=True)
        self.topic, self.partitions, self.keys, self.pause_s = topic, partitions, keys, pause_s
        self.padding = b"." * padding
        self.acknowledged: List[Dict[int, int]] = [{} for _ in range(partitions)]  # offset -> number
        self.sent = [0] * partitions
        self.errors: List[str] = []
        self.failures: Dict[int, List[KafkaError]] = defaultdict(list)  # by partition, where they are expected
        self.stopping = threading.Event()
        self.may_fail = settings.pop("may_fail", False)
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all",
                                  "linger.ms": 5, "message.timeout.ms": 300_000, "error_cb": self._client_error,
                                  "batch.size": BATCH_BYTES,
                                  **RECONNECT, **settings})

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged))

    def _delivered(self, error: Optional[KafkaError], message: Any) -> None:
        if error is None:
            self.acknowledged[message.partition()][message.offset()] = number_of(message.value())
        elif self.may_fail:
            self.failures[message.partition()].append(error)
        else:
            self.errors.append(f"{self.topic}: delivery: {error}")

    def _client_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.errors.append(f"{self.topic}: fatal: {error}")

    def send(self, partition: int) -> None:
        number = self.sent[partition]
        self.sent[partition] += 1
        key = b"key-%d" % (number % self.keys) if self.keys else None
        while True:
            try:
                return self.producer.produce(self.topic, b"%012d" % number + self.padding, key=key, partition=partition,
                                             on_delivery=self._delivered)
            except BufferError:
                self.producer.poll(0.05)

    def run(self) -> None:
        try:
            while not self.stopping.is_set() and not self.errors:
                for partition in range(self.partitions):
                    self.send(partition)
                self.producer.poll(self.pause_s)
        except KafkaException as error:  # raised after a fatal error
            self.errors.append(f"{self.topic}: produce: {error}")

    def drain(self) -> int:
        """How many records are still without an answer."""
        self.stopping.set()
        if self.is_alive():
            self.join()
        return self.producer.flush(DRAIN_LIMIT_S)


class Stored(NamedTuple):
    offset: int
    number: int
    key: Optional[bytes]


def number_of(value: bytes) -> int:
    return int(value[:12])


class Audit:
    """Holds a topic, read from its start, against a book."""

    def __init__(self, bootstrap: str, book: Book) -> None:
        self.stored = [list(read(bootstrap, book.topic, partition)) for partition in range(book.partitions)]
        self.starts = [watermarks(bootstrap, book.topic, partition)[0] for partition in range(book.partitions)]
        self.acknowledged, self.present = book.count, sum(map(len, self.stored))
        self.lost = self.duplicated = self.out_of_order = self.invented = self.holes = 0
        for partition, (stored, acknowledged) in enumerate(zip(self.stored, book.acknowledged)):
            self._audit(book, partition, stored, acknowledged)

    def _audit(self, book: Book, partition: int, stored: List[Stored], acknowledged: Dict[int, int]) -> None:
        by_offset = {record.offset: record.number for record in stored}
        self.lost += sum(1 for offset, number in acknowledged.items()
                         if offset >= self.starts[partition] and by_offset.get(offset) != number and not book.keys)
        numbers = [record.number for record in stored]
        self.duplicated += len(numbers) - len(set(numbers))
        self.out_of_order += sum(1 for one, next_one in zip(numbers, numbers[1:]) if next_one < one)
        self.invented += sum(1 for number in numbers if number >= book.sent[partition])
        if book.keys:
            self._audit_latest(stored, acknowledged, book.keys)
        else:
            self.holes += sum(1 for one, next_one in zip(stored, stored[1:]) if next_one.offset != one.offset + 1)

    def _audit_latest(self, stored: List[Stored], acknowledged: Dict[int, int], keys: int) -> None:
        """Of a compacted topic: of each key something at least as new as what was acknowledged last."""
        newest = {record.number % keys: record.number for record in stored}
        wanted: Dict[int, int] = {}
        for number in acknowledged.values():
            wanted[number % keys] = max(number, wanted.get(number % keys, -1))
        self.lost += sum(1 for key, number in wanted.items() if newest.get(key, -1) < number)
        self.invented += sum(1 for record in stored if record.key != b"key-%d" % (record.number % keys))

    def verdict(self, check: str) -> Tuple[str, Dict[str, int]]:
        return check, {"lost": self.lost, "duplicated": self.duplicated, "out of order": self.out_of_order,
                       "invented": self.invented, "holes": self.holes}

    def __str__(self) -> str:
        return (f"acknowledged {self.acknowledged}, present {self.present}, lost {self.lost}, "
                f"duplicated {self.duplicated}, out of order {self.out_of_order}, invented {self.invented}")


def consumer(bootstrap: str, **settings: Any) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "audit", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "enable.partition.eof": True, **RECONNECT, **settings})


def read(bootstrap: str, topic: str, partition: int) -> Iterator[Stored]:
    reader = consumer(bootstrap)
    start, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    reader.assign([TopicPartition(topic, partition, start)])
    deadline = time.monotonic() + READ_LIMIT_S
    try:
        while start < end:
            for message in reader.consume(10_000, 1):
                if not message.error():
                    yield Stored(message.offset(), number_of(message.value()), message.key())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}-{partition} cannot be read to its end within {READ_LIMIT_S} s")
    finally:
        reader.close()


def watermarks(bootstrap: str, topic: str, partition: int) -> Tuple[int, int]:
    asking = consumer(bootstrap)
    try:
        return asking.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    finally:
        asking.close()


def wait_for(true: Callable[[], Any], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what}")
        time.sleep(0.01)


def log_says(broker: Broker, *words: str) -> bool:
    return any(all(word in line for word in words) for line in broker.last_lines(10_000))
