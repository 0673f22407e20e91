"""The checks of the drill, in the order in which they are written."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Callable, List, Tuple

CHECKS: List[Tuple[str, Callable[[], None]]] = []


class Skip(Exception):
    """What is checked cannot be had here."""


def check(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(body: Callable[[], None]) -> Callable[[], None]:
        CHECKS.append((name, body))
        return body

    return add


def run_all() -> bool:
    """Prints a verdict for each; whether all is well."""
    well = True
    for name, body in CHECKS:
        started = time.monotonic()
        try:
            body()
            print(f"ok {name}", flush=True)
        except Skip as reason:
            print(f"skip {name}: {reason}", flush=True)
        except Exception as error:  # whatever it is, the next check runs
            well = False
            traceback.print_exc(file=sys.stderr)
            print(f"FAIL {name}: {' '.join(f'{type(error).__name__} {error}'.split())[:600]}", flush=True)
        print(f"{name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    return well
