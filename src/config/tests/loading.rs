use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn from_env(values: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
    let mut raw = RawConfig::default();
    raw.environment(env(values)).unwrap();
    raw.validate().map_err(|error| error.0)
}

#[test]
fn without_configuration_the_defaults_hold() {
    let (config, warnings) = RawConfig::default().validate().unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.cluster_id, None);
    assert_eq!(config.log_dirs, [PathBuf::from("./ottla-data")]);
    assert_eq!(config.network.request_bytes_max, 100 << 20);
    assert_eq!(config.network.queued_bytes_max, 256 << 20);
    assert_eq!(config.network.connections_max, i32::MAX as usize);
    assert_eq!(config.network.idle_max, Some(Duration::from_secs(600)));
    assert_eq!(config.network.send_buffer_bytes, None);
    assert_eq!((config.topics.partitions, config.topics.replication_factor), (1, 1));
    assert!(config.topics.auto_create && config.topics.delete_enabled);
    assert_eq!(config.groups.initial_rebalance_delay, Duration::ZERO);
    assert_eq!(config.groups.offsets_retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.fetch_max_bytes, 55 << 20);
    assert_eq!(config.producer_id_expiration, Duration::from_secs(24 * 3600));
}

#[test]
fn every_key_that_has_effect_reaches_its_field() {
    let config = config(
        "node.id=0\ncluster.id=abc\nlog.dirs=/a, /b,/a\nlog.dir=/c\nmetadata.log.dir=/m\nfetch.max.bytes=1024\n\
         max.incremental.fetch.session.cache.slots=2\nmax.request.partition.size.limit=3\nproducer.id.expiration.ms=4\n\
         socket.request.max.bytes=5\nqueued.max.request.bytes=6\nmax.connections=7\nmax.connections.per.ip=8\n\
         max.connections.per.ip.overrides=localhost:9, 2001:DB8::0:7:10\nconnections.max.idle.ms=-1\n\
         socket.listen.backlog.size=11\nsocket.send.buffer.bytes=-1\nsocket.receive.buffer.bytes=12\n\
         auto.create.topics.enable=FALSE\nnum.partitions=13\ndefault.replication.factor=14\ndelete.topic.enable=false\n\
         group.initial.rebalance.delay.ms=15\ngroup.min.session.timeout.ms=16\ngroup.max.session.timeout.ms=17\n\
         group.max.size=18\noffset.metadata.max.bytes=19\noffsets.topic.num.partitions=20\n\
         offsets.topic.segment.bytes=21\noffsets.retention.minutes=22\noffsets.retention.check.interval.ms=23\n",
    );
    assert_eq!((config.node_id, config.cluster_id.as_deref()), (NodeId(0), Some("abc")));
    assert_eq!(config.log_dirs, ["/a", "/b"].map(PathBuf::from));
    assert_eq!(config.kafka_metadata_dir, Some(PathBuf::from("/m")));
    assert_eq!((config.fetch_max_bytes, config.fetch_sessions_max, config.request_partitions_max), (1024, 2, 3));
    assert_eq!(config.producer_id_expiration, Duration::from_millis(4));
    let network = config.network;
    assert_eq!((network.request_bytes_max, network.queued_bytes_max), (5, 6));
    assert_eq!((network.connections_max, network.connections_per_ip_max, network.backlog), (7, 8, 11));
    assert_eq!((network.idle_max, network.send_buffer_bytes, network.receive_buffer_bytes), (None, None, Some(12)));
    let per_ip = |address: &str| network.connections_per_ip_overrides.get(&address.parse().unwrap()).copied();
    assert_eq!((per_ip("127.0.0.1"), per_ip("2001:db8::7"), per_ip("10.0.0.1")), (Some(9), Some(10), None));
    let topics = config.topics;
    assert_eq!((topics.auto_create, topics.partitions), (false, 13));
    assert_eq!((topics.replication_factor, topics.delete_enabled), (14, false));
    let groups = config.groups;
    assert_eq!(groups.initial_rebalance_delay, Duration::from_millis(15));
    assert_eq!(groups.session_timeout_min, Duration::from_millis(16));
    assert_eq!(groups.session_timeout_max, Duration::from_millis(17));
    assert_eq!((groups.members_max, groups.offset_metadata_bytes_max), (18, 19));
    assert_eq!((groups.offsets_partitions, groups.offsets_segment_bytes), (20, 21));
    assert_eq!(groups.offsets_retention, Duration::from_secs(22 * 60));
    assert_eq!(groups.offsets_retention_check_interval, Duration::from_millis(23));
}

#[test]
fn the_environment_is_read_as_the_docker_images_read_it() {
    let values = [("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_NODE_ID", "7"), ("NUM_PARTITIONS", "4"), ("KAFKA_", "5")];
    let (config, warnings) = from_env(&values).unwrap();
    assert_eq!((config.topics.partitions, config.node_id), (3, NodeId(7)));
    assert_eq!(warnings, [""; 0]);

    let (_, warnings) = from_env(&[("KAFKA_A_B__C___D", "1")]).unwrap();
    assert_eq!(warnings, ["unknown configuration key 'a.b_c-d' (set by KAFKA_A_B__C___D)"]);
}

#[test]
fn variables_of_kafkas_scripts_are_not_keys() {
    let values = ["HEAP_OPTS", "OPTS", "LOG4J_OPTS", "JMX_OPTS", "JMX_PORT", "GC_LOG_OPTS", "JVM_PERFORMANCE_OPTS"];
    let values: Vec<_> = values.iter().map(|name| (format!("KAFKA_{name}"), "-Xmx1G")).collect();
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(from_env(&values).unwrap().1, [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let vars = [("KAFKA_NUM_PARTITIONS".into(), OsString::from_vec(vec![0xff]))];
    let error = RawConfig::default().environment(vars).unwrap_err();
    assert_eq!(error.to_string(), "KAFKA_NUM_PARTITIONS: not UTF-8");
}

#[test]
fn a_file_that_is_not_utf_8_is_read_as_java_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.properties");
    for (bytes, dir) in [(&b"log.dirs=/d\xfc"[..], "/dü"), ("log.dirs=/dü".as_bytes(), "/dü")] {
        std::fs::write(&path, bytes).unwrap();
        let mut raw = RawConfig::default();
        raw.file(&path).unwrap();
        assert_eq!(raw.validate().unwrap().0.log_dirs, [PathBuf::from(dir)]);
    }
}

#[test]
fn a_later_source_overrides_an_earlier_one() {
    let mut raw = RawConfig::default();
    raw.properties("num.partitions=2\nnum.partitions=3\ngroup.max.size=2\nnode.id=2", "a").unwrap();
    raw.environment(env(&[("KAFKA_NUM_PARTITIONS", "4"), ("KAFKA_GROUP_MAX_SIZE", "4")])).unwrap();
    raw.assign("num.partitions = 5").unwrap();
    let (config, _) = raw.validate().unwrap();
    assert_eq!((config.topics.partitions, config.groups.members_max, config.node_id), (5, 4, NodeId(2)));
}

#[test]
fn an_assignment_is_a_key_and_a_value() {
    for text in ["num.partitions", "=3", " =3"] {
        let error = RawConfig::default().assign(text).unwrap_err();
        assert_eq!(error.to_string(), format!("--override: '{text}': not KEY=VALUE"));
    }
}

#[test]
fn an_unknown_key_is_warned_of_with_the_nearest_known_name() {
    let unknown = |name| format!("unknown configuration key '{name}' (set by server.properties:1)");
    for (name, nearest) in [
        ("log.retension.ms", "log.retention.ms"),
        ("num.partition", "num.partitions"),
        ("advertised.listener", "advertised.listeners"),
        ("max.message.bytes", "message.max.bytes"),
        ("retention.ms", "log.retention.ms"),
        ("segment.bytes", "log.segment.bytes"),
    ] {
        let expected = format!("{}; did you mean '{nearest}'?", unknown(name));
        assert_eq!(warnings(&format!("{name}=1")), [expected]);
    }
    for name in ["zookeeper.connect", "remote.storage.enable", "x"] {
        assert_eq!(warnings(&format!("{name}=1")), [unknown(name)]);
    }
}

#[test]
fn keys_without_effect_are_named_in_one_line_unless_they_stand_at_their_default() {
    let properties = "log.retention.hours=168\nnum.io.threads=8\nquota.window.num=5\nnum.network.threads=4\n\
                      listener.name.internal.ssl.keystore.location=/x";
    let expected = "known to Kafka, without effect here: listener.name.internal.ssl.keystore.location, num.network.threads, quota.window.num";
    assert_eq!(warnings(properties), [expected]);
}

#[test]
fn the_server_properties_that_come_with_kafka_start_a_broker() {
    let (config, warnings) = load(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\nsocket.receive.buffer.bytes=102400\n\
         socket.request.max.bytes=104857600\nlog.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\n\
         num.recovery.threads.per.data.dir=2\noffsets.topic.replication.factor=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nlog.retention.hours=168\n\
         log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n",
    )
    .unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
    assert_eq!(
        warnings,
        [
            "known to Kafka, without effect here: controller.quorum.bootstrap.servers, inter.broker.listener.name",
            "listeners: CONTROLLER://:9093 left out: a controller's (controller.listener.names), and none is needed",
        ]
    );
}

#[test]
fn a_bad_value_stops_the_start_with_what_is_allowed() {
    for (setting, text) in [
        ("num.partitions=many", "Invalid value many for configuration num.partitions: Not a number of type INT"),
        ("num.partitions=0", "Invalid value 0 for configuration num.partitions: Value must be at least 1"),
        (
            "num.partitions=2147483648",
            "Invalid value 2147483648 for configuration num.partitions: Not a number of type INT",
        ),
        (
            "auto.create.topics.enable=yes",
            "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false",
        ),
        (
            "log.segment.bytes=-5",
            "Invalid value -5 for configuration log.segment.bytes: Value must be at least 1048576",
        ),
        (
            "default.replication.factor=32768",
            "Invalid value 32768 for configuration default.replication.factor: Value must be no more than 32767",
        ),
        (
            "log.cleaner.backoff.ms=1s",
            "Invalid value 1s for configuration log.cleaner.backoff.ms: Not a number of type LONG",
        ),
        (
            "log.message.timestamp.type=Now",
            "Invalid value Now for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        ),
        (
            "process.roles=zookeeper",
            "Invalid value zookeeper for configuration process.roles: String must be one of: broker, controller",
        ),
        ("broker.id=-1", "Invalid value -1 for configuration broker.id: Value must be at least 0"),
        ("log.dirs=", "Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value"),
        ("log.dirs=/a,,/b", "Configuration 'log.dirs' values must not be empty."),
    ] {
        assert_eq!(error(setting), format!("{text} (set by server.properties:1)"));
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (settings, text) in [
        ("node.id=1\nbroker.id=2", "You must set `node.id` to the same value as `broker.id`."),
        (
            "process.roles=controller",
            "process.roles: 'controller': this process is always a broker (broker or broker,controller)",
        ),
        ("log.retention.ms=0", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
        (
            "log.cleaner.dedupe.buffer.size=1048576",
            "log.cleaner.dedupe.buffer.size (1048576) must be more than 1 MiB per cleaner thread (log.cleaner.threads=1)",
        ),
        (
            "log.cleaner.threads=128",
            "log.cleaner.dedupe.buffer.size (134217728) must be more than 1 MiB per cleaner thread \
             (log.cleaner.threads=128)",
        ),
        (
            "queued.max.request.bytes=100",
            "queued.max.request.bytes (100) must be larger or equal to socket.request.max.bytes (104857600)",
        ),
        (
            "group.min.session.timeout.ms=3000000",
            "group.min.session.timeout.ms (3000000) must be less or equal to group.max.session.timeout.ms (1800000)",
        ),
        (
            "connections.max.idle.ms=100",
            "connection.failed.authentication.delay.ms=100 should always be less than connections.max.idle.ms=100 \
             to prevent failed authentication responses from timing out",
        ),
        (
            "max.connections.per.ip=0",
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        ),
        ("max.connections.per.ip.overrides=a:b", "max.connections.per.ip.overrides: 'a:b': not HOST:COUNT"),
    ] {
        assert_eq!(error(settings), text);
    }
}

#[test]
fn the_bound_of_queued_bytes_never_shuts_out_the_largest_request() {
    let queued = |properties| config(properties).network.queued_bytes_max;
    assert_eq!(queued("socket.request.max.bytes=1073741824"), 1 << 30);
    assert_eq!(queued("queued.max.request.bytes=-1"), usize::MAX);
}

#[test]
fn the_older_name_of_the_node_id_is_honoured() {
    for settings in ["broker.id=5", "node.id=5"] {
        let config = config(settings);
        assert_eq!(config.node_id, NodeId(5));
        let described = config.broker.describe_broker();
        for name in ["broker.id", "node.id"] {
            let one = find(&described, name);
            assert_eq!((one.value.as_deref(), one.source), (Some("5"), Source::StaticBroker), "{settings}: {name}");
        }
    }
}

#[test]
fn the_node_id_of_the_log_dirs_stands_in_for_one_that_was_not_configured() {
    for (settings, expected) in [("", NodeId(7)), ("node.id=1", NodeId(1)), ("broker.id=1", NodeId(1))] {
        let mut config = config(settings);
        config.take_node_id(NodeId(7));
        assert_eq!(config.node_id, expected);
        let described = config.broker.describe_broker();
        for name in ["broker.id", "node.id"] {
            assert_eq!(find(&described, name).value, Some(expected.0.to_string()));
        }
    }
}

#[test]
fn a_password_is_never_described() {
    let config = config("ssl.key.password=secret");
    let described = config.broker.describe_broker();
    let password = find(&described, "ssl.key.password");
    assert!(password.sensitive);
    assert_eq!((&password.value, password.source), (&None, Source::StaticBroker));
    assert_eq!(password.synonyms, [("ssl.key.password".to_owned(), None, Source::StaticBroker)]);
}
