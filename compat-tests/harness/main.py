"""Builds the broker, runs what was asked for against it, and counts. README.md says how to use it."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, List, Optional, Set, Tuple, Union

import needs
import wire
from broker import ROOT, Broker, BrokerError
from formula import CODECS
from report import Report, note
from suites import REMOTE_PORT, TESTS, Suite, discover, run

DRILLS = {"kill9": {False: ["--rounds", "10"], True: ["--rounds", "30"]},
          "sendfile": {False: ["--mib", "64"], True: ["--mib", "1024"]},
          "churn": {False: ["--rounds", "5"], True: ["--rounds", "50"]},
          "diskfull": {False: ["--rounds", "2"], True: ["--rounds", "10"]},
          "ioerror": {False: ["--rounds", "1"], True: ["--rounds", "5"]},
          "clock": {False: ["--rounds", "1"], True: ["--rounds", "10"]},
          "fewfiles": {False: ["--rounds", "1"], True: ["--rounds", "5"]},
          "docker": {False: ["--small"], True: []}}
BUILD_THEIR_OWN = {"docker"}
# The fault drills among the crate's own tests.
LONG_CRATE_TESTS = {"OTTLA_TEST_LONG": "1", "OTTLA_TEST_SEEDS": "1000", "OTTLA_TEST_FRAMES": "260000"}
DRILL_SILENCE_S = 900
DRILL_SUITE = Suite("python-confluent")  # all drills use its client


class Running:
    """A broker that someone else started."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.host, port = bootstrap.rsplit(":", 1)
        self.port = int(port)

    def alive(self) -> bool:
        return True


class Run:
    def __init__(self, options: argparse.Namespace, workdir: Path) -> None:
        self.options, self.workdir, self.report = options, workdir, Report()

    def everything(self) -> int:
        wanted: Set[str] = set(self.options.names) or self._default_names()
        named = [suite for suite in discover() if suite.name in wanted]
        crossing = (named or discover()) if "cross" in wanted else []
        drills = [name for name in DRILLS if name in wanted]

        suites = {suite.name: suite for suite in named + crossing + ([DRILL_SUITE] if drills else [])}
        if not REMOTE_PORT:
            needs.install(wanted | set(suites))
        broken = self._set_up(list(suites.values()))
        if "crate" in wanted:
            self._crate_tests()
        needs_binary = named or crossing or set(drills) - BUILD_THEIR_OWN
        if self.options.against or not needs_binary or self._build():
            for suite in named:
                if suite.name not in broken:
                    self._checks(suite)
            if crossing:
                self._cross([suite for suite in crossing if suite.name not in broken])
            if DRILL_SUITE.name not in broken:
                for name in drills:
                    self._drill(name)
        return self.report.finish()

    def _default_names(self) -> Set[str]:
        own_broker = set() if self.options.against else {"crate", *DRILLS}
        return {suite.name for suite in discover()} | {"cross"} | own_broker

    def _set_up(self, suites: List[Suite]) -> Set[str]:
        """The suites that cannot run."""
        def set_up(suite: Suite) -> Tuple[Suite, Optional[str]]:
            note(f"setup {suite.name}")
            return suite, suite.setup(self.workdir / f"setup-{suite.name}.log")

        broken = set()
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            for suite, trouble in pool.map(set_up, suites):
                if trouble:
                    broken.add(suite.name)
                    self.report.fail(f"{suite.name}/setup", trouble)
        return broken

    def _crate_tests(self) -> None:
        nextest = shutil.which("cargo-nextest") is not None
        self._cargo("crate/tests", ["nextest", "run", "--no-fail-fast"] if nextest else ["test", "--no-fail-fast"])

    def _build(self) -> bool:
        if os.environ.get("OTTLA_BINARY"):
            return True
        return self._cargo("build/release", ["build", "--release"], tell=False)

    def _cargo(self, name: str, arguments: List[str], tell: bool = True) -> bool:
        command = ["cargo", *arguments]
        note(" ".join(command))
        environment = {**os.environ, **(LONG_CRATE_TESTS if self.options.long else {})}
        try:
            status: Union[int, OSError] = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, env=environment).returncode
        except OSError as error:
            status = error
        if status:
            self.report.fail(name, f"{' '.join(command)}: {status}")
        elif tell:
            self.report.ok(name)
        return not status

    def _with_broker(self, name: str, body: Callable[[Any], None]) -> None:
        """Runs `body` on a broker for `name`; that it starts, lives and stops is checked by the way."""
        if self.options.against:
            body(Running(self.options.against))
            return
        failed_before = self.report.counts["FAIL"]
        broker = Broker(self.workdir / name)
        try:
            body(broker.start())
            broker.stop()
        except (BrokerError, OSError) as error:
            self.report.fail(f"{name}/broker", str(error))
        finally:
            if broker.alive():
                broker.kill()
        if self.report.counts["FAIL"] > failed_before:
            note(f"--- the broker of {name}, last lines of {broker.log}")
            for line in broker.last_lines():
                note(f"  {line}")

    def _checks(self, suite: Suite) -> None:
        def body(broker: Any) -> None:
            for verdict, name, reason in suite.checks(broker.bootstrap, broker.alive):
                self.report.line(verdict, f"{suite.name}/{name}", reason)

        self._with_broker(suite.name, body)

    def _cross(self, suites: List[Suite]) -> None:
        def body(broker: Any) -> None:
            with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
                for number, writer in enumerate(suites):
                    for codec in CODECS:
                        self._cross_topic(broker, pool, writer, codec, suites)
                    # And one codec into another, a pair for each writer: every reader sees each codec of the broker's.
                    sent, stored = CODECS[number % len(CODECS)], CODECS[(number + 1) % len(CODECS)]
                    self._cross_topic(broker, pool, writer, sent, suites, stored)

        self._with_broker("cross", body)

    def _cross_topic(self, broker: Any, pool: ThreadPoolExecutor, writer: Suite, codec: str,
                     readers: List[Suite], stored: Optional[str] = None) -> None:
        """Written in `codec`, and stored in another one if that is said."""
        codecs = f"{codec}-to-{stored}" if stored else codec
        topic, count = f"cross-{writer.name}-{codecs}-{secrets.token_hex(4)}", self.options.records
        names = {reader: f"cross/{writer.name}->{reader.name}/{codecs}" for reader in readers}
        compression = {"none": "uncompressed", None: "producer"}.get(stored, stored)
        try:
            # The formula's timestamps lie years back: no retention, or the topic is empty before its last reader.
            wire.create_topic(broker.host, broker.port, topic,
                              configs={"retention.ms": "-1", "compression.type": compression})
            profile = writer.profile()
            written, _, reason = writer.write(broker.bootstrap, topic, codec, count)
        except (OSError, wire.WireError, subprocess.SubprocessError) as error:
            written, reason = "FAIL", str(error)
        if written != "ok":
            for name in names.values():
                self.report.line(written, name, f"not written: {reason}")
            return
        reads = {reader: pool.submit(reader.read, broker.bootstrap, topic, count, profile) for reader in readers}
        for reader, read in reads.items():
            verdict, _, reason = read.result()
            self.report.line(verdict, names[reader], reason)

    def _drill(self, name: str) -> None:
        if self.options.against:
            self.report.skip(name, "needs a broker of its own")
            return
        note(f"drill {name}")
        home = self.workdir / name
        command = [str(TESTS / "drills" / name), "--home", str(home), *DRILLS[name][self.options.long]]
        for verdict, check, reason in run(command, silence_s=DRILL_SILENCE_S):
            self.report.line(verdict, f"{name}/{check}", reason)


def options() -> argparse.Namespace:
    names = ["crate", *(suite.name for suite in discover()), "cross", *DRILLS]
    parser = argparse.ArgumentParser(prog="compat-tests/run", description="Real clients against the broker.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to run (default: all): {', '.join(names)}")
    parser.add_argument("--against", metavar="HOST:PORT", help="use this running broker; neither crate nor drills")
    parser.add_argument("--long", action="store_true", help="the drills at full length")
    parser.add_argument("--records", type=int, default=500, metavar="N", help="records per topic of the matrix (500)")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(names))
    if unknown:
        parser.error(f"no such name: {', '.join(unknown)} (there are: {', '.join(names)})")
    return chosen


def main() -> int:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
    workdir = Path(tempfile.mkdtemp(prefix="ottla-compat-"))
    status = 1
    try:
        status = Run(chosen, workdir).everything()
    finally:
        if status:
            note(f"logs and data are kept in {workdir}")
        else:
            shutil.rmtree(workdir, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
