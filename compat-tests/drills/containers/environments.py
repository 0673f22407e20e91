"""Environments that were made for Kafka's images, and mistakes in them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Dict, Sequence

from confluent_kafka.admin import AdminClient, ConfigResource

import clients
from checklist import check
from engine import Container, docker, lines, network, volume
from images import IMAGE

ONE_OF_EACH = {"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": 1, "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": 0,
               "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": 1, "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": 1}

# apache/kafka: docker/examples, single-node, plaintext.
APACHE = {**ONE_OF_EACH, "KAFKA_NODE_ID": 1,
          "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
          "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT_HOST://localhost:9092,PLAINTEXT://broker:19092",
          "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@broker:29093",
          "KAFKA_LISTENERS": "CONTROLLER://:29093,PLAINTEXT_HOST://:9092,PLAINTEXT://:19092",
          "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
          "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw", "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": 1,
          "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": 1, "KAFKA_LOG_DIRS": "/tmp/kraft-combined-logs"}
# confluentinc/cp-kafka: cp-all-in-one-kraft.
CONFLUENT = {**ONE_OF_EACH, "KAFKA_BROKER_ID": 1, "KAFKA_NODE_ID": 1,
             "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
             "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://broker:29092,PLAINTEXT_HOST://localhost:9092",
             "KAFKA_JMX_PORT": 9101, "KAFKA_JMX_HOSTNAME": "localhost", "KAFKA_PROCESS_ROLES": "broker,controller",
             "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@broker:29093",
             "KAFKA_LISTENERS": "PLAINTEXT://broker:29092,CONTROLLER://broker:29093,PLAINTEXT_HOST://0.0.0.0:9092",
             "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
             "KAFKA_LOG_DIRS": "/tmp/kraft-combined-logs", "CLUSTER_ID": "MkU3OEVBNTcwNTJENDM2Qk"}
# confluentinc/cp-kafka with ZooKeeper: cp-all-in-one-community. The image derives the listeners.
ZOOKEEPER = {**ONE_OF_EACH, "KAFKA_BROKER_ID": 1, "KAFKA_ZOOKEEPER_CONNECT": "zookeeper:2181",
             "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
             "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://broker:29092,PLAINTEXT_HOST://localhost:9092",
             "KAFKA_JMX_PORT": 9101, "KAFKA_JMX_HOSTNAME": "localhost", "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false"}


def starts(environment: Dict[str, object], inside: str, left_out: str) -> None:
    """Clients on the machine and in a container use it; what it leaves out is said in one line."""
    with network("ottla-drill") as name:
        options = ("--publish", "127.0.0.1:9092:9092", "--network", name, "--hostname", "broker", "--name", "broker")
        with Container(IMAGE, env=environment, options=options) as broker:
            broker.start().wait_until_healthy()
            clients.from_host("localhost:9092")
            clients.from_container(inside, name)
            said = [line for line in broker.log().splitlines() if "no controller quorum is needed" in line]
            assert len(said) == 1 and left_out in said[0], said
            assert "unknown configuration" not in broker.log(), broker.log()


@check("environment/of-apache-kafka")
def _() -> None:
    starts(APACHE, "broker:19092", "CONTROLLER://:29093, controller.quorum.voters")


@check("environment/of-confluents-cp-kafka")
def _() -> None:
    starts(CONFLUENT, "broker:29092", "CONTROLLER://broker:29093, controller.quorum.voters")


@check("environment/of-cp-kafka-with-zookeeper")
def _() -> None:
    starts(ZOOKEEPER, "broker:29092", "zookeeper.connect")


@check("environment/a-mounted-file-below-it")
def _() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "server.properties").write_text("num.partitions=3\nlog.segment.bytes=2097152\n")
        options = ("--publish", "127.0.0.1:9092:9092", "--volume", f"{folder}:/mnt/shared/config:ro")
        with Container(IMAGE, env={"KAFKA_NUM_PARTITIONS": 5}, options=options) as broker:
            broker.start().wait_until_healthy()
            clients.from_host("localhost:9092")
            admin, asked = AdminClient({"bootstrap.servers": "localhost:9092"}), ConfigResource(ConfigResource.Type.BROKER, "1")
            configs = admin.describe_configs([asked])[asked].result(30)
            found = {name: configs[name].value for name in ("num.partitions", "log.segment.bytes")}
            assert found == {"num.partitions": "5", "log.segment.bytes": "2097152"}, found


def refused(status: int, expected: str, environment: Dict[str, object], options: Sequence[str] = ()) -> None:
    with Container(IMAGE, env=environment, options=options) as broker:
        broker.start()
        ended, said = broker.ended(), lines(broker.log())
        assert ended == status, f"exit status {ended}: {said}"
        assert len(said) == 1 and said[0].startswith("ottla: ") and expected in said[0], said
        print(f"docker: {said[0]}", flush=True)


@check("mistake/an-unknown-security-protocol")
def _() -> None:
    refused(2, "listener.security.protocol.map: 'PLAINTEXT:TLS': unknown security protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)",
            {"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:TLS"})


@check("mistake/a-listener-without-an-advertised-name")
def _() -> None:
    needed = "advertised.listeners has no address for it: set what its clients connect to, as OUTSIDE://localhost:29092"
    listeners = {"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT",
                 "KAFKA_LISTENERS": "INSIDE://:9092,OUTSIDE://0.0.0.0:29092"}
    refused(2, needed, {**listeners, "KAFKA_ADVERTISED_LISTENERS": "INSIDE://broker:9092"})
    refused(2, needed, {**listeners, "KAFKA_LISTENERS": "OUTSIDE://0.0.0.0:29092"})


@check("mistake/a-port-in-use")
def _() -> None:
    with Container(IMAGE) as first:
        first.start().wait_until_ready()
        refused(1, ":9092: Address already in use", {}, ("--network", f"container:{first.id}"))


@check("mistake/a-volume-that-cannot-be-written")
def _() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-drill-") as folder:
        Path(folder).chmod(0o755)
        refused(1, "log.dirs: /var/lib/kafka/data", {}, ("--volume", f"{folder}:/var/lib/kafka/data"))
        refused(1, "Read-only file system", {}, ("--volume", f"{folder}:/var/lib/kafka/data:ro", "--user", "0"))


@check("mistake/a-cluster-id-that-is-not-the-volumes")
def _() -> None:
    with volume("ottla-drill") as name:
        options = ("--volume", f"{name}:/var/lib/kafka/data")
        with Container(IMAGE, env={"CLUSTER_ID": APACHE["CLUSTER_ID"]}, options=options) as first:
            first.start().wait_until_ready()
            docker("stop", first.id)
        other = {"CLUSTER_ID": CONFLUENT["CLUSTER_ID"]}
        refused(1, f"names cluster.id {APACHE['CLUSTER_ID']}, this broker has {other['CLUSTER_ID']}", other, options)
        # Without one, or with its own, the volume is still good.
        for environment in ({}, {"CLUSTER_ID": APACHE["CLUSTER_ID"]}):
            with Container(IMAGE, env=environment, options=options) as again:
                again.start().wait_until_ready()
