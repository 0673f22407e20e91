use std::time::Duration;

use super::*;

fn resolve(properties: &str, own: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::resolve(&config(properties).broker, &overrides(own))
}

fn described(properties: &str, own: &[(&str, &str)], name: &str) -> Described {
    find(&config(properties).broker.describe_topic(&overrides(own)), name).clone()
}

type Synonym = (String, Option<String>, Source);

fn synonym(name: &str, value: &str, source: Source) -> Synonym {
    (name.to_owned(), Some(value.to_owned()), source)
}

#[test]
fn a_topic_without_values_goes_by_the_defaults() {
    let week = Duration::from_secs(7 * 24 * 3600);
    let expected = TopicConfig {
        segment_bytes: 1 << 30,
        segment_ms: week,
        segment_jitter_ms: Duration::ZERO,
        segment_index_bytes: 10 << 20,
        index_interval_bytes: 4096,
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max: Duration::from_millis(i64::MAX as u64),
        timestamp_after_max: Duration::from_secs(3600),
        compact: false,
        delete: true,
        retention: Some(week),
        retention_bytes: None,
        file_delete_delay: Duration::from_secs(60),
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag: Duration::ZERO,
        max_compaction_lag: Duration::from_millis(i64::MAX as u64),
        delete_retention: Duration::from_secs(24 * 3600),
        flush_messages: None,
        flush_interval: None,
        preallocate: false,
        compression: Compression::Producer,
    };
    assert_eq!(TopicConfig::resolve(&BrokerValues::default(), &BTreeMap::new()), expected);
}

#[test]
fn a_topic_goes_by_its_own_values_over_the_brokers() {
    let broker = "log.segment.bytes=2097152\nlog.roll.ms=5\nlog.index.size.max.bytes=6\nlog.index.interval.bytes=7\n\
                  message.max.bytes=8\nlog.message.timestamp.type=LogAppendTime\nlog.roll.jitter.ms=9\n\
                  log.message.timestamp.before.max.ms=10\nlog.message.timestamp.after.max.ms=11\nlog.cleanup.policy=compact";
    let inherited = resolve(broker, &[]);
    assert_eq!((inherited.segment_bytes, inherited.segment_ms), (2 << 20, Duration::from_millis(5)));
    assert_eq!((inherited.segment_index_bytes, inherited.index_interval_bytes), (6, 7));
    assert_eq!((inherited.max_message_bytes, inherited.segment_jitter_ms), (8, Duration::from_millis(9)));
    assert_eq!((inherited.timestamp_type, inherited.compact), (TimestampType::LogAppendTime, true));
    assert_eq!(inherited.timestamp_before_max, Duration::from_millis(10));
    assert_eq!(inherited.timestamp_after_max, Duration::from_millis(11));

    let own = [("segment.bytes", "1048576"), ("cleanup.policy", "delete"), ("message.timestamp.type", "CreateTime")];
    let own = resolve(broker, &own);
    assert_eq!((own.segment_bytes, own.compact, own.timestamp_type), (1 << 20, false, TimestampType::CreateTime));
    assert_eq!(own.segment_ms, Duration::from_millis(5));
}

#[test]
fn each_compression_type_comes_with_the_level_of_its_codec() {
    let levels = [("compression.gzip.level", "7"), ("compression.zstd.level", "-8"), ("compression.lz4.level", "12")];
    let compression = |name, levels: &[_]| resolve("", &[&[("compression.type", name)], levels].concat()).compression;
    for (name, plain, levelled) in [
        ("producer", Compression::Producer, Compression::Producer),
        ("uncompressed", Compression::Uncompressed, Compression::Uncompressed),
        ("gzip", Compression::Gzip { level: None }, Compression::Gzip { level: Some(7) }),
        ("snappy", Compression::Snappy, Compression::Snappy),
        ("lz4", Compression::Lz4, Compression::Lz4),
        ("zstd", Compression::Zstd { level: 3 }, Compression::Zstd { level: -8 }),
    ] {
        assert_eq!((compression(name, &[]), compression(name, &levels)), (plain, levelled), "{name}");
    }
    let broker = "compression.type=gzip\ncompression.gzip.level=9\ncompression.zstd.level=22";
    assert_eq!(resolve(broker, &[]).compression, Compression::Gzip { level: Some(9) });
    assert_eq!(resolve(broker, &[("compression.gzip.level", "-1")]).compression, Compression::Gzip { level: None });
    assert_eq!(resolve(broker, &[("compression.type", "zstd")]).compression, Compression::Zstd { level: 22 });
}

#[test]
fn the_internal_segment_size_goes_before_the_other_and_may_be_tiny() {
    let own = [("internal.segment.bytes", "100"), ("segment.bytes", "1048576")];
    assert_eq!(resolve("", &own).segment_bytes, 100);
    assert_eq!(check_topic_value("internal.segment.bytes", Some("100")), Ok(()));
}

#[test]
fn a_stored_value_that_does_not_parse_gives_way_to_the_brokers() {
    let own = [("segment.bytes", "5"), ("index.interval.bytes", "x"), ("internal.segment.bytes", "-1")];
    let resolved = resolve("log.segment.bytes=2097152", &own);
    assert_eq!((resolved.segment_bytes, resolved.index_interval_bytes), (2 << 20, 4096));
}

#[test]
fn the_finest_unit_said_is_the_one_that_counts() {
    assert_eq!(resolve("log.roll.hours=2", &[]).segment_ms, Duration::from_secs(7200));
    assert_eq!(resolve("log.roll.hours=2\nlog.roll.ms=3", &[]).segment_ms, Duration::from_millis(3));
    assert_eq!(resolve("log.roll.jitter.hours=1", &[]).segment_jitter_ms, Duration::from_secs(3600));
    for (properties, retention) in [
        ("", "604800000"),
        ("log.retention.hours=2", "7200000"),
        ("log.retention.hours=2\nlog.retention.minutes=3", "180000"),
        ("log.retention.hours=2\nlog.retention.minutes=3\nlog.retention.ms=4", "4"),
        ("log.retention.hours=-1", "-1"),
        ("log.retention.minutes=-7", "-1"),
        ("log.retention.ms=-1", "-1"),
        ("log.retention.ms=-5", "-1"),
    ] {
        assert_eq!(described(properties, &[], "retention.ms").value.as_deref(), Some(retention), "{properties:?}");
    }
    assert_eq!(described("log.flush.scheduler.interval.ms=5", &[], "flush.ms").value.as_deref(), Some("5"));
    assert_eq!(
        described("log.flush.scheduler.interval.ms=5\nlog.flush.interval.ms=6", &[], "flush.ms").value.as_deref(),
        Some("6")
    );
}

#[test]
fn synonyms_run_from_the_topic_to_the_default() {
    let segment = described("log.segment.bytes=2097152", &[("segment.bytes", " 1048576 ")], "segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source), (Some("1048576"), Source::DynamicTopic));
    let expected = [
        synonym("segment.bytes", "1048576", Source::DynamicTopic),
        synonym("log.segment.bytes", "2097152", Source::StaticBroker),
        synonym("log.segment.bytes", "1073741824", Source::Default),
    ];
    assert_eq!(segment.synonyms, expected);

    let inherited = described("log.segment.bytes=2097152", &[], "segment.bytes");
    assert_eq!(inherited.source, Source::StaticBroker);
    assert_eq!(inherited.synonyms, expected[1..]);
}

/// `ConfigHelper.configSynonyms` drops what comes before the key itself; so hours alone leave no trace in `retention.ms`.
#[test]
fn of_several_units_only_those_after_the_finest_are_described() {
    let hours = described("log.retention.hours=2", &[], "retention.ms");
    assert_eq!((hours.source, hours.synonyms), (Source::Default, vec![]));
    let both = described("log.retention.hours=2\nlog.retention.ms=4", &[], "retention.ms");
    let expected = [
        synonym("log.retention.ms", "4", Source::StaticBroker),
        synonym("log.retention.hours", "2", Source::StaticBroker),
        synonym("log.retention.hours", "168", Source::Default),
    ];
    assert_eq!((both.source, both.synonyms), (Source::StaticBroker, expected.to_vec()));
}

#[test]
fn a_topics_value_is_checked_in_kafkas_words() {
    let range = |name, value, text| (name, value, format!("Invalid value {value} for configuration {name}: {text}"));
    let replicas = "leader.replication.throttled.replicas";
    for (name, value, text) in [
        range("segment.bytes", "-5", "Value must be at least 1048576"),
        range("segment.bytes", "1e6", "Not a number of type INT"),
        range("retention.ms", "-2", "Value must be at least -1"),
        range("retention.ms", "", "Not a number of type LONG"),
        range("segment.ms", "0", "Value must be at least 1"),
        range("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
        range("min.cleanable.dirty.ratio", "-0.5", "Value must be at least 0"),
        range("min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE"),
        range("min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"),
        range("preallocate", "1", "Expected value to be either true or false"),
        range("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        range("compression.lz4.level", "18", "Value must be no more than 17"),
        range("cleanup.policy", "purge", "String must be one of: compact, delete"),
        range("message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"),
        range("compression.type", "brotli", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("cleanup.policy", "compact,", "Configuration 'cleanup.policy' values must not be empty.".to_owned()),
        (
            replicas,
            "1:2,x",
            format!(
                "Invalid value [1:2, x] for configuration {replicas}: {replicas} must be the literal '*' or a list of \
                 replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ),
        ),
        ("no.such.key", "1", "Unknown topic config name: no.such.key".to_owned()),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .to_owned(),
        ),
    ] {
        assert_eq!(check_topic_value(name, Some(value)), Err(InvalidConfig(text)), "{name}={value}");
    }
    let null = InvalidConfig("Null value not supported for topic configs: segment.bytes".to_owned());
    assert_eq!(check_topic_value("segment.bytes", None), Err(null));
}

#[test]
fn what_kafka_accepts_is_accepted() {
    for (name, value) in [
        ("segment.bytes", " 1048576 "),
        ("cleanup.policy", "compact , delete,compact"),
        ("cleanup.policy", ""),
        ("compression.gzip.level", "-1"),
        ("compression.zstd.level", "-131072"),
        ("min.cleanable.dirty.ratio", "1"),
        ("follower.replication.throttled.replicas", "*"),
        ("follower.replication.throttled.replicas", "0:1,2:3"),
        ("local.retention.ms", "-2"),
        ("remote.storage.enable", "false"),
        ("unclean.leader.election.enable", "True"),
    ] {
        assert_eq!(check_topic_value(name, Some(value)), Ok(()), "{name}={value}");
    }
    assert!(resolve("", &[("cleanup.policy", "delete , compact")]).compact);
}

#[test]
fn a_topics_values_must_go_together() {
    let broker = BrokerValues::default();
    assert_eq!(check_topic(&broker, &overrides(&[("max.compaction.lag.ms", "10")])), Ok(()));
    let own = overrides(&[("max.compaction.lag.ms", "10"), ("min.compaction.lag.ms", "11")]);
    let text = "conflict topic config setting min.compaction.lag.ms (11) > max.compaction.lag.ms (10)";
    assert_eq!(check_topic(&broker, &own), Err(InvalidConfig(text.to_owned())));
}

#[test]
fn lists_are_told_from_single_values() {
    assert!(is_topic_list("cleanup.policy"));
    assert!(!is_topic_list("segment.bytes"));
    assert!(!is_topic_list("no.such.key"));
}

#[test]
fn what_does_not_act_is_told_from_what_does_and_from_what_says_nothing_new() {
    let own = [
        ("compression.lz4.level", "12"),
        ("compression.type", "lz4"),
        ("local.retention.ms", "60000"),
        ("max.message.bytes", "7"),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(without_effect(&own), ["compression.lz4.level", "local.retention.ms"]);
}
