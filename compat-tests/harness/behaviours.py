"""What every full client must see, written once over the small `Client` that each Python suite makes of its library."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from checks import COUNT, check, eventually, fresh, refused, same
from formula import CODECS, LARGEST_VALUE, Record, difference, records, timestamp

TAKE_LIMIT_S = 40


class Got(NamedTuple):
    partition: int
    offset: int
    record: Record


class Consumer:
    """One consumer of the library under test, as a member of a group or with partitions assigned by hand."""

    def poll(self, within_s: float) -> List[Got]:
        raise NotImplementedError

    def seek(self, partition: int, offset: int) -> None:
        raise NotImplementedError

    def commit(self) -> None:
        """Commits the position synchronously; raises unless the broker said yes."""
        raise NotImplementedError

    def assignment(self) -> Set[int]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def take(self, count: int) -> List[Got]:
        got: List[Got] = []
        deadline = time.monotonic() + TAKE_LIMIT_S
        while len(got) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {len(got)} of {count} records within {TAKE_LIMIT_S} s")
            got += self.poll(0.5)
        return got

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """What a suite implements; failures are the library's exceptions, `error_code` finds the wire's code in them."""

    profile = "full"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def error_code(self, error: Exception) -> Optional[int]: ...
    def create(self, topic: str, partitions: int = 1, configs: Optional[Dict[str, str]] = None) -> None: ...
    def delete(self, topic: str) -> None: ...
    def topics(self) -> Set[str]: ...
    def partitions(self, topic: str) -> int: ...
    def describe_missing(self, topic: str) -> None:
        """For clients whose way to describe a topic would create it."""
        self.partitions(topic)

    def grow(self, topic: str, partitions: int) -> None: ...
    def configs(self, topic: str) -> Dict[str, Optional[str]]: ...
    def set_config(self, topic: str, name: str, value: str) -> None: ...
    def reset_config(self, topic: str, name: str) -> None: ...
    def brokers(self) -> int: ...

    def produce(self, topic: str, batch: Iterable[Record], codec: str = "none", *, partitions: int = 1,
                idempotent: bool = False, size_max: int = 1_000_000, acks: str = "all") -> None:
        """Sends record i to partition i % partitions; returns once all are acknowledged, or raises."""

    def reader(self, topic: str, offset: int = 0) -> Consumer: ...
    def member(self, group: str, topic: str, *, instance: Optional[str] = None, strategy: Optional[str] = None,
               pattern: bool = False, auto_commit: bool = False) -> Consumer:
        """`topic` is a regular expression where `pattern` says so; new topics are then noticed within a second."""

    def offset_at(self, topic: str, timestamp_ms: int) -> Optional[int]: ...
    def bounds(self, topic: str) -> Tuple[int, int]: ...

    def groups(self) -> Set[str]: ...
    def describe_group(self, group: str) -> Tuple[str, int]:
        """State and number of members."""
    def delete_group(self, group: str) -> None: ...
    def committed(self, group: str, topic: str) -> Dict[int, int]: ...
    def set_committed(self, group: str, topic: str, offsets: Dict[int, int]) -> None: ...


def made(client: Client, stem: str, partitions: int = 1, configs: Optional[Dict[str, str]] = None) -> str:
    topic = fresh(stem)
    client.create(topic, partitions, configs)
    return topic


def filled(client: Client, stem: str, count: int) -> str:
    topic = made(client, stem)
    client.produce(topic, records(count, client.profile))
    return topic


def compare(got: List[Got], profile: str, count: int, start: int = 0) -> None:
    same(len(got), count, "records read")
    for i, one in enumerate(got, start):
        same(one.offset, i, "offset")
        wrong = difference(i, one.record, profile)
        if wrong:
            raise AssertionError(wrong)


def read_and_compare(client: Client, topic: str, count: int, profile: str) -> None:
    with client.reader(topic) as reader:
        compare(reader.take(count), profile, count)


# --- topics and configs ---------------------------------------------------------------------------------------------


@check("topics/create-with-partitions-and-configs-then-describe")
def _(client: Client) -> None:
    topic = made(client, "topics", 3, {"cleanup.policy": "compact", "segment.bytes": "2097152"})
    same(eventually(lambda: client.partitions(topic), "described"), 3, "partitions")
    configs = client.configs(topic)
    same((configs["cleanup.policy"], configs["segment.bytes"]), ("compact", "2097152"), "configs as created")
    same(configs["max.message.bytes"], "1048588", "default max.message.bytes")


@check("topics/list-names-a-created-topic")
def _(client: Client) -> None:
    topic = made(client, "topics")
    eventually(lambda: topic in client.topics(), f"{topic} listed")


@check("topics/create-twice-is-refused")
def _(client: Client) -> None:
    topic = made(client, "topics")
    refused(lambda: client.create(topic), "TOPIC_ALREADY_EXISTS", client)


@check("topics/create-with-a-bad-name-is-refused")
def _(client: Client) -> None:
    refused(lambda: client.create("no spaces!"), "INVALID_TOPIC_EXCEPTION", client)


@check("topics/create-with-an-unknown-config-is-refused")
def _(client: Client) -> None:
    refused(lambda: client.create(fresh("topics"), 1, {"no.such.config": "1"}), "INVALID_CONFIG", client)


@check("topics/delete-then-it-is-gone-and-can-be-made-again")
def _(client: Client) -> None:
    topic = filled(client, "topics", 10)
    client.delete(topic)
    eventually(lambda: topic not in client.topics(), f"{topic} no longer listed")
    client.create(topic)
    same(client.bounds(topic), (0, 0), "offsets of the new topic of that name")


@check("topics/describe-of-an-unknown-topic-is-refused")
def _(client: Client) -> None:
    refused(lambda: client.describe_missing(fresh("missing")), "UNKNOWN_TOPIC_OR_PARTITION", client)


@check("topics/delete-of-an-unknown-topic-is-refused")
def _(client: Client) -> None:
    refused(lambda: client.delete(fresh("missing")), "UNKNOWN_TOPIC_OR_PARTITION", client)


@check("topics/producing-to-a-missing-topic-creates-it")
def _(client: Client) -> None:
    topic = fresh("missing")
    client.produce(topic, records(10, client.profile))
    read_and_compare(client, topic, 10, client.profile)


@check("topics/create-partitions-adds-partitions")
def _(client: Client) -> None:
    topic = made(client, "topics", 2)
    client.grow(topic, 5)
    eventually(lambda: client.partitions(topic) == 5, "5 partitions")
    refused(lambda: client.grow(topic, 4), "INVALID_PARTITIONS", client)


@check("configs/alter-sets-one-and-reset-brings-the-default-back")
def _(client: Client) -> None:
    topic = made(client, "configs")
    client.set_config(topic, "retention.ms", "3600000")
    eventually(lambda: client.configs(topic)["retention.ms"] == "3600000", "retention.ms as set")
    client.reset_config(topic, "retention.ms")
    eventually(lambda: client.configs(topic)["retention.ms"] == "604800000", "retention.ms back at its default")


@check("configs/bad-value-is-refused")
def _(client: Client) -> None:
    topic = made(client, "configs")
    refused(lambda: client.set_config(topic, "retention.ms", "soon"), "INVALID_CONFIG", client)


@check("cluster/describe-names-the-broker")
def _(client: Client) -> None:
    same(client.brokers(), 1, "brokers")


# --- records and offsets --------------------------------------------------------------------------------------------


@check("records/{}-comes-back-byte-for-byte", each=CODECS)
def _(client: Client, case: str) -> None:
    topic = made(client, f"records-{case}")
    client.produce(topic, records(COUNT, client.profile), case)
    read_and_compare(client, topic, COUNT, client.profile)


@check("idempotence/all-in-order-none-missing-none-twice")
def _(client: Client) -> None:
    topic = made(client, "idempotence")
    client.produce(topic, records(COUNT, client.profile), "lz4", idempotent=True)
    read_and_compare(client, topic, COUNT, client.profile)
    same(client.bounds(topic), (0, COUNT), "first and next offset")


@check("records/acks-{}-is-read-back", each=("0", "1"))
def _(client: Client, case: str) -> None:
    topic = made(client, f"acks-{case}")
    client.produce(topic, records(100, client.profile), acks=case)
    read_and_compare(client, topic, 100, client.profile)


@check("offsets/by-timestamp-first-at-or-after-and-none-past-the-end")
def _(client: Client) -> None:
    topic = filled(client, "offsets", 100)
    found = [client.offset_at(topic, time_ms) for time_ms in
             (timestamp(0) - 1_000, timestamp(50), timestamp(50) + 1, timestamp(99), timestamp(99) + 1)]
    same(found, [0, 50, 51, 99, None], "offsets found")


@check("offsets/beginning-and-end")
def _(client: Client) -> None:
    topic = made(client, "offsets")
    same(client.bounds(topic), (0, 0), "first and next offset of an empty topic")
    client.produce(topic, records(123, client.profile))
    same(client.bounds(topic), (0, 123), "first and next offset")


@check("offsets/seek-reads-on-from-there")
def _(client: Client) -> None:
    topic = filled(client, "offsets", 1_000)
    with client.reader(topic) as reader:
        reader.take(10)
        reader.seek(0, 700)
        compare(reader.take(300), client.profile, 300, start=700)
        reader.seek(0, 5)
        compare(reader.take(995), client.profile, 995, start=5)


@check("sizes/record-at-the-limit-goes-through")
def _(client: Client) -> None:
    topic = made(client, "sizes")
    value = b"v" * LARGEST_VALUE
    client.produce(topic, [Record(None, value, [], timestamp(0))], size_max=2_000_000)
    with client.reader(topic) as reader:
        same(reader.take(1)[0].record.value == value, True, "the record that came back is the one sent")


@check("sizes/record-over-the-limit-is-refused")
def _(client: Client) -> None:
    topic = made(client, "sizes")
    one_over = Record(None, b"v" * (LARGEST_VALUE + 1), [], timestamp(0))
    refused(lambda: client.produce(topic, [one_over], size_max=2_000_000), "MESSAGE_TOO_LARGE", client)
    same(client.bounds(topic), (0, 0), "first and next offset")


# --- groups ---------------------------------------------------------------------------------------------------------


class Member(threading.Thread):
    """A member that commits after every poll, and knows what the whole group has committed."""

    def __init__(self, consumer: Consumer, committed: Set[Tuple[int, int]], again: List[Tuple[int, int]]) -> None:
        super().__init__(daemon=True)
        self.consumer, self.committed, self.again = consumer, committed, again
        self.assigned: Set[int] = set()
        self.leaving = threading.Event()
        self.trouble: Optional[Exception] = None
        self.start()

    def run(self) -> None:
        pending: Set[Tuple[int, int]] = set()  # read, but the commit was refused by a rebalance
        try:
            while not self.leaving.is_set():
                got = [(one.partition, one.offset) for one in self.consumer.poll(0.2)]
                self.assigned = self.consumer.assignment()
                self.again += [one for one in got if one in self.committed]
                pending = {one for one in pending.union(got) if one[0] in self.assigned}
                if pending and self._commits():
                    self.committed.update(pending)
                    pending.clear()
            self.consumer.close()
        except Exception as error:
            self.trouble = error

    def _commits(self) -> bool:
        try:
            self.consumer.commit()
            return True
        except Exception as refused_by_rebalance:
            self.trouble = refused_by_rebalance
            return False

    def __str__(self) -> str:
        return f"partitions {sorted(self.assigned)}, last trouble {self.trouble!r}"

    def leave(self) -> None:
        self.leaving.set()
        self.join(20)
        if self.is_alive():
            raise AssertionError("a member does not get away within 20 s")


def one_leaves(client: Client, strategy: Optional[str]) -> None:
    topic, group, partitions = made(client, "group", 4), fresh("group"), 4
    committed: Set[Tuple[int, int]] = set()
    again: List[Tuple[int, int]] = []
    stays, leaves = (Member(client.member(group, topic, strategy=strategy), committed, again) for _ in range(2))
    eventually(lambda: stays.assigned and leaves.assigned and len(stays.assigned | leaves.assigned) == partitions
               and not stays.assigned & leaves.assigned,
               lambda: f"the members share the partitions ({stays}, {leaves})")
    client.produce(topic, records(COUNT // 2, client.profile), partitions=partitions)
    eventually(lambda: len(committed) >= COUNT // 4, f"{COUNT // 4} records read by two members")
    leaves.leave()
    client.produce(topic, records(COUNT // 2, client.profile), partitions=partitions)
    eventually(lambda: len(committed) >= COUNT,
               lambda: f"all records read ({len(committed)} of {COUNT}; {stays})", 30)
    stays.leave()
    same(again, [], "records delivered again after their commit")
    ends: Dict[int, int] = defaultdict(int)
    for partition, offset in committed:
        ends[partition] = max(ends[partition], offset + 1)
    same(client.committed(group, topic), dict(ends), "committed offsets")


@check("groups/one-member-leaves-nothing-lost-nothing-twice")
def _(client: Client) -> None:
    one_leaves(client, None)


@check("groups/cooperative-sticky-one-member-leaves-nothing-lost-nothing-twice")
def _(client: Client) -> None:
    one_leaves(client, "cooperative-sticky")


@check("groups/committed-offsets-are-found-by-a-new-member")
def _(client: Client) -> None:
    topic, group = filled(client, "group", 1_000), fresh("group")
    with client.member(group, topic) as first:
        got = first.take(400)
        first.commit()
    goes_on_at = got[-1].offset + 1
    same(client.committed(group, topic), {0: goes_on_at}, "committed offset")
    if goes_on_at == 1_000:
        client.produce(topic, records(1, client.profile, start=1_000))
    with client.member(group, topic) as second:
        same(second.take(1)[0].offset, goes_on_at, "the new member's first offset")


@check("groups/auto-commit-on-close-keeps-the-position")
def _(client: Client) -> None:
    topic, group = filled(client, "group", 100), fresh("group")
    with client.member(group, topic, auto_commit=True) as member:
        member.take(100)
    same(client.committed(group, topic), {0: 100}, "committed offset")


@check("groups/pattern-subscription-finds-a-topic-made-later")
def _(client: Client) -> None:
    stem, group = fresh("pattern"), fresh("group")
    client.create(f"{stem}-a")
    with client.member(group, f"^{stem}-.*", pattern=True) as member:
        client.produce(f"{stem}-a", records(5, client.profile))
        member.take(5)
        client.create(f"{stem}-b")
        client.produce(f"{stem}-b", records(5, client.profile))
        member.take(5)


@check("groups/set-offsets-of-an-empty-group-are-where-a-member-starts")
def _(client: Client) -> None:
    topic, group = filled(client, "group", 100), fresh("group")
    client.set_committed(group, topic, {0: 42})
    same(client.committed(group, topic), {0: 42}, "committed offset")
    with client.member(group, topic) as member:
        same(member.take(1)[0].offset, 42, "first offset")


@check("groups/live-group-is-listed-described-and-not-deleted")
def _(client: Client) -> None:
    topic, group = filled(client, "group", 10), fresh("group")
    with client.member(group, topic) as member:
        member.take(10)
        member.commit()
        eventually(lambda: group in client.groups(), f"{group} listed")
        same(client.describe_group(group), ("Stable", 1), "state and members")
        refused(lambda: client.delete_group(group), "NON_EMPTY_GROUP", client)
    eventually(lambda: client.describe_group(group) == ("Empty", 0), "the group is empty")
    client.delete_group(group)
    eventually(lambda: group not in client.groups(), f"{group} no longer listed")


@check("groups/delete-of-an-unknown-group-is-refused")
def _(client: Client) -> None:
    refused(lambda: client.delete_group(fresh("missing")), "GROUP_ID_NOT_FOUND", client)


@check("groups/static-member-returns-to-its-partitions-without-a-rebalance")
def _(client: Client) -> None:
    topic, group = made(client, "group", 4), fresh("group")

    def join(instance: str) -> Member:
        return Member(client.member(group, topic, instance=instance), set(), [])

    goes, stays = join("one"), join("two")
    eventually(lambda: len(goes.assigned) == len(stays.assigned) == 2 and not goes.assigned & stays.assigned,
               "two partitions each")
    before, other = goes.assigned, stays.assigned
    goes.leave()
    time.sleep(2)  # long enough for two heartbeats of the other member, far below the session timeout
    same(stays.assigned, other, "the other member's partitions while the static member is away")
    back = join("one")
    eventually(lambda: back.assigned, "the static member has partitions again")
    same((back.assigned, stays.assigned), (before, other), "partitions of both")
    same(client.describe_group(group), ("Stable", 2), "state and members")
    back.leave()
    stays.leave()

