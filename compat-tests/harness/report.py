"""One line per check on stdout, and the sum at the end."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from typing import Optional

LINE = re.compile(r"(ok|FAIL|skip) (\S+?)(?:: (.*))?$")


class Report:
    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self._lock = threading.Lock()

    def line(self, verdict: str, name: str, reason: Optional[str] = None) -> None:
        with self._lock:
            self.counts[verdict] += 1
            print(f"{verdict} {name}" + (f": {reason}" if reason else ""), flush=True)

    def ok(self, name: str) -> None:
        self.line("ok", name)

    def fail(self, name: str, reason: str) -> None:
        self.line("FAIL", name, reason)

    def skip(self, name: str, reason: str) -> None:
        self.line("skip", name, reason)

    def finish(self) -> int:
        skipped = f", {self.counts['skip']} skipped" if self.counts["skip"] else ""
        print(f"{self.counts['ok']} passed, {self.counts['FAIL']} failed{skipped}", flush=True)
        return 1 if self.counts["FAIL"] else 0


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
