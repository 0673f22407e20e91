"""A docker daemon of our own: `daemon.py HOME DATA` runs one until its standard input ends, then stops it and puts the
machine's network back as it was. A process of its own, so that this is done even where who started it was killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

STOP_LIMIT_S = 60
TABLES = ("filter", "nat")
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
NEEDED = ("docker", "dockerd", "debootstrap", "iptables-save", "ip", "unshare")


def socket(home: Path) -> str:
    return f"unix://{home}/docker.sock"


class Network:
    """The machine's links, packet filter and forwarding."""

    def __init__(self) -> None:
        self.links = _links()
        self.tables = {table: subprocess.run(["iptables-save", "-t", table], stdout=subprocess.PIPE, check=True).stdout
                       for table in TABLES}
        self.forward = IP_FORWARD.read_text()

    def restore(self) -> None:
        for link in sorted(set(_links()) - set(self.links)):
            subprocess.run(["ip", "link", "delete", link])
        for rules in self.tables.values():
            subprocess.run(["iptables-restore"], input=rules)
        IP_FORWARD.write_text(self.forward)


def _links() -> list:
    return [path.name for path in Path("/sys/class/net").iterdir()]


def _mtu() -> int:
    """Of the smallest of the machine's links to elsewhere: a container's packets go through it."""
    mtus = [int((link / "mtu").read_text()) for link in Path("/sys/class/net").iterdir() if link.name.startswith(("e", "w"))]
    return min([1500, *mtus])


def main() -> None:
    home, data = map(Path, sys.argv[1:])
    network = Network()
    # In a mount namespace of its own, so that no mount outlives it.
    command = ["unshare", "--mount", "--", "dockerd", "--host", socket(home), "--data-root", str(data),
               "--exec-root", str(home / "exec"), "--pidfile", str(home / "dockerd.pid"), "--mtu", str(_mtu())]
    dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: dockerd.terminate())
    try:
        sys.stdin.read()
        dockerd.terminate()
        dockerd.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        dockerd.kill()
        dockerd.wait()
    finally:
        network.restore()


if __name__ == "__main__":
    main()
