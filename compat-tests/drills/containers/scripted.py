"""Testcontainers, step by step as its modules do it in each language: the container waits for a script, which is copied in
once the mapped port is known and starts Kafka; the module waits for a line of the log.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, List, NamedTuple, Tuple

import clients
from checklist import check
from engine import Container, network
from images import SHELL

WITHIN_S = 60
RUNNING = r"Transitioning from RECOVERY to RUNNING"

ONE_OF_EACH = {"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1", "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
               "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
               "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": str(2**63 - 1), "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
               "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER"}
KRAFT = {**ONE_OF_EACH, "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw", "KAFKA_NODE_ID": "1",
         "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
         "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"}
ZOOKEEPER = {**ONE_OF_EACH, "KAFKA_BROKER_ID": "1", "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
             "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT"}
OWN_ZOOKEEPER = ("echo 'clientPort=2181' > zookeeper.properties\necho 'dataDir=/var/lib/zookeeper/data' >> zookeeper.properties\n"
                 "echo '' > /etc/confluent/docker/ensure\nzookeeper-server-start zookeeper.properties &\n")
FORMATTED = ("sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure\n"
             "echo 'kafka-storage format --ignore-formatted -t \"$(kafka-storage random-uuid)\" -c /etc/kafka/kafka.properties'"
             " >> /etc/confluent/docker/configure\n")
CONFIGURED = ". /etc/confluent/docker/bash-config\n/etc/confluent/docker/configure\n/etc/confluent/docker/launch\n"


class Module(NamedTuple):
    environment: Dict[str, str]
    port: int
    script_at: str
    entrypoint: str  # "" leaves the image's
    command: List[str]
    script: Callable[[str, str, str], str]  # of the mapped port, the host name and the address of the container
    waits_for: str = RUNNING
    on_stdout: bool = False
    by_exec: bool = False  # the script is written by a shell in the container, as its user


def waiting(script: str, then: str) -> str:
    return f"while [ ! -f {script} ]; do sleep 0.1; done; {then}"


def java(run: str) -> Module:
    script = "/tmp/testcontainers_start.sh"
    return Module({**KRAFT, "KAFKA_LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094"}, 9092, script, "",
                  ["sh", "-c", waiting(script, script)],
                  lambda port, name, _: "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS="
                                        f"PLAINTEXT://localhost:{port},BROKER://{name}:9093\n{run} \n")


def go() -> Module:
    script = "/usr/sbin/testcontainers_start.sh"
    listeners = "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094"
    return Module({**KRAFT, "KAFKA_BROKER_ID": "1", "KAFKA_LISTENERS": listeners, "KAFKA_REST_BOOTSTRAP_SERVERS": listeners,
                   "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094"}, 9093, script, "sh",
                  ["-c", waiting(script, f"bash {script}")],
                  lambda port, name, _: "#!/bin/bash\nsource /etc/confluent/docker/bash-config\n"
                                        f'export KAFKA_ADVERTISED_LISTENERS="PLAINTEXT://localhost:{port},BROKER://{name}:9092"\n'
                                        f"echo Starting Kafka KRaft mode\n{FORMATTED}echo '' > /etc/confluent/docker/ensure\n"
                                        "/etc/confluent/docker/configure\n/etc/confluent/docker/launch")


def python() -> Module:
    script = "/tc-start.sh"
    return Module({**KRAFT, "KAFKA_BROKER_ID": "1", "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
                   "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094"}, 9093, script,
                  "", ["sh", "-c", waiting(script, f"sh {script}")],
                  lambda port, *_: f"#!/bin/bash\n{FORMATTED}export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:{port},"
                                   f"BROKER://$(hostname -i):9092\n{CONFIGURED}", r"Kafka Server started")


def node() -> Module:
    script = "/tmp/testcontainers_start.sh"
    return Module({**KRAFT, "KAFKA_BROKER_ID": "1", "KAFKA_ADVERTISED_LISTENERS": "BROKER://localhost:9092",
                   "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094", "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false",
                   "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094"}, 9093, script,
                  "sh", ["-c", f"echo 'Waiting for script...'; {waiting(script, script)}"],
                  lambda port, name, _: "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS="
                                        f"BROKER://{name}:9092,PLAINTEXT://localhost:{port}\n/etc/confluent/docker/run \n")


def dotnet(environment: Dict[str, str], run: str, before: str, waits_for: str) -> Module:
    script = "/testcontainers.sh"
    return Module({**environment, "KAFKA_LISTENERS": "PLAINTEXT://:9092,BROKER://:9093"
                   + (",CONTROLLER://:9094" if "KAFKA_PROCESS_ROLES" in environment else "")}, 9092, script, "/bin/sh",
                  ["-c", waiting(script, script)],
                  lambda port, _, address: f"#!/bin/bash\n{before}export KAFKA_ADVERTISED_LISTENERS="
                                           f"PLAINTEXT://127.0.0.1:{port},BROKER://{address}:9093\nexec {run}\n", waits_for)


def rust() -> Module:
    script = "/opt/kafka/testcontainers_start.sh"
    return Module({**KRAFT, "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
                   "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:9092,BROKER://localhost:9092",
                   "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094"}, 9092, script, "bash",
                  ["-c", waiting(script, f"chmod 755 {script} && {script}")],
                  lambda port, *_: "#!/usr/bin/env bash\\nexport KAFKA_ADVERTISED_LISTENERS="
                                   f"PLAINTEXT://127.0.0.1:{port},BROKER://localhost:9093\\n/etc/kafka/docker/run \\n",
                  r"Kafka Server started", on_stdout=True, by_exec=True)


APACHE, CONFLUENT = "/etc/kafka/docker/run", "/etc/confluent/docker/run"
MODULES: List[Tuple[str, Module]] = [
    ("java-kafka-container", java(APACHE)),
    ("java-confluent-kafka-container", java(CONFLUENT)),
    ("go", go()),
    ("python", python()),
    ("node", node()),
    ("dotnet-apache", dotnet(KRAFT, APACHE, "", RUNNING)),
    ("dotnet-confluent-zookeeper", dotnet(ZOOKEEPER, CONFLUENT, OWN_ZOOKEEPER, r"\[KafkaServer id=\d+\] started")),
    ("rust-apache", rust()),
]


def start(module: Module, container: Container) -> int:
    """Goes through the module's steps; the port at which clients come."""
    container.start()
    port = container.mapped(module.port)
    inspected = container.inspect()
    script = module.script(str(port), inspected["Config"]["Hostname"], inspected["NetworkSettings"]["IPAddress"])
    if module.by_exec:
        container.exec("sh", "-c", f"echo '{script}' > {module.script_at}")
    else:
        container.put(module.script_at, script)
        container.put(f"{module.script_at}.ready", "")
    log = container.stdout if module.on_stdout else container.log
    container.wait_for(lambda: re.search(module.waits_for, log()), f"a line with {module.waits_for!r}", WITHIN_S)
    return port


def container_of(module: Module, *options: str) -> Container:
    entrypoint = ("--entrypoint", module.entrypoint) if module.entrypoint else ()
    return Container(SHELL, *module.command, env=module.environment,
                     options=("--publish", f"127.0.0.1::{module.port}", *entrypoint, *options))


def _add(name: str, module: Module) -> None:
    @check(f"testcontainers/as-{name}")
    def _() -> None:
        with container_of(module) as container:
            clients.from_host(f"localhost:{start(module, container)}")


for _name, _module in MODULES:
    _add(_name, _module)


@check("testcontainers/as-java-with-another-listener")
def _() -> None:
    """`withListener("kafka:19092")`, for clients in the same network."""
    module = java(APACHE)
    environment = {**module.environment,
                   "KAFKA_LISTENERS": module.environment["KAFKA_LISTENERS"] + ",TC-0://kafka:19092",
                   "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":
                       module.environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"] + ",TC-0:PLAINTEXT"}
    script = module.script
    module = module._replace(environment=environment, script=lambda port, name, address: script(port, name, address).replace(
        "BROKER://", "TC-0://kafka:19092,BROKER://"))
    with network("ottla-drill") as name:
        with container_of(module, "--network", name, "--network-alias", "kafka") as container:
            clients.from_host(f"localhost:{start(module, container)}")
            clients.from_container("kafka:19092", name)
