"""The checks of a Python suite: a registry, and a process with a time limit for each."""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import secrets
import sys
import time
import traceback
from typing import Any, Callable, Iterable, List, Tuple, Union

FORK = multiprocessing.get_context("fork")
LIMIT_S = 60
COUNT = 1_000 if os.environ.get("OTTLA_SMALL") == "1" else 10_000

CHECKS: List[Tuple[str, Callable[..., None]]] = []


class Skip(Exception):
    """The client cannot do this; the message says why."""


def check(name: str, each: Iterable[Any] = ()) -> Callable:
    """Registers a check; with `each`, one check per case, whose name takes the place of {}."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        cases = [(name.format(case), functools.partial(body, case=case)) for case in each]
        CHECKS.extend(cases or [(name, body)])
        return body

    return register


def run_all(make_client: Callable[[], Any]) -> None:
    for name, body in CHECKS:
        run(name, lambda: body(make_client()))


def run(name: str, body: Callable[[], None]) -> bool:
    """Runs `body` in a process of its own, so that no client can hang the suite; prints its line."""
    receiver, sender = FORK.Pipe(duplex=False)
    sys.stdout.flush()
    process = FORK.Process(target=_report, args=(body, sender))
    process.start()
    sender.close()
    try:
        verdict, reason = receiver.recv() if receiver.poll(LIMIT_S) else ("FAIL", f"no answer within {LIMIT_S} s")
    except EOFError:
        process.join()
        verdict, reason = "FAIL", f"the client's process died (exit status {process.exitcode})"
    process.kill()
    process.join()
    print(f"{verdict} {name}" + (f": {reason}" if reason else ""), flush=True)
    return verdict == "ok"


def _report(body: Callable[[], None], sender: Any) -> None:
    os.dup2(2, 1)  # stdout belongs to the verdicts
    faulthandler.dump_traceback_later(LIMIT_S - 2)
    try:
        body()
        sender.send(("ok", ""))
    except Skip as skip:
        sender.send(("skip", str(skip)))
    except BaseException as error:
        traceback.print_exc()
        sender.send(("FAIL", _one_line(error)))
    sys.stderr.flush()
    os._exit(0)  # a client's destructors may wait for ever


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, AssertionError) and text else f"{type(error).__name__}: {text}"


def fresh(stem: str) -> str:
    return f"{stem}-{secrets.token_hex(4)}"


def same(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def eventually(true: Callable[[], Any], what: Union[str, Callable[[], str]], within_s: float = 20) -> Any:
    """The first true answer; what a broker tells its clients a moment later needs this."""
    deadline = time.monotonic() + within_s
    while True:
        answer = true()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


TOPIC_ALREADY_EXISTS = 36
ERROR_NAMES = {
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    10: "MESSAGE_TOO_LARGE",
    17: "INVALID_TOPIC_EXCEPTION",
    TOPIC_ALREADY_EXISTS: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    40: "INVALID_CONFIG",
    68: "NON_EMPTY_GROUP",
    69: "GROUP_ID_NOT_FOUND",
}


def refused(call: Callable[[], Any], error: str, client: Any) -> None:
    """`call` must raise, and the client must know it by the wire code of `error`."""
    try:
        call()
    except Skip:
        raise
    except Exception as raised:
        code = client.error_code(raised)
        same(ERROR_NAMES.get(code, code), error, f"the client's error ({_one_line(raised)})")
    else:
        raise AssertionError(f"not refused; expected {error}")
