//! From raw settings to the typed configuration: every value checked, then what several of them must be together
//! (`KafkaConfig.validateValues`).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::broker_keys::{self, BROKER_KEYS};
use super::listeners;
use super::raw::{RawConfig, Setting};
use super::topic_keys;
use super::values::BrokerValues;
use super::{Cleaner, Config, Groups, InvalidConfig, Logs, NODE_ID, Network, Topics};
use crate::types::NodeId;

const QUEUED_BYTES: &str = "queued.max.request.bytes";
const DEDUPE_BYTES: &str = "log.cleaner.dedupe.buffer.size";
const DEDUPE_BYTES_OF_A_THREAD_ABOVE: i64 = 1 << 20;

impl RawConfig {
    /// Checks everything and gives the typed configuration, with warnings for unknown keys (each with the nearest known
    /// name); the first bad value is an error with the key, the value and what is allowed.
    pub fn validate(self) -> Result<(Config, Vec<String>), InvalidConfig> {
        let (said, mut warnings) = self.check_each()?;
        let values = BrokerValues::new(said);
        check_together(&values)?;
        let (listeners, left_out) = listeners::load(&values)?;
        check_inter_broker_listener(&values, &listeners)?;
        warnings.extend(left_out);
        let config = Config {
            node_id: NodeId(values.number(NODE_ID)?),
            cluster_id: values.text("cluster.id").map(str::to_owned),
            listeners,
            log_dirs: log_dirs(&values),
            kafka_metadata_dir: values.text("metadata.log.dir").map(PathBuf::from),
            adopt: false,
            network: network(&values)?,
            topics: topics(&values)?,
            groups: groups(&values)?,
            logs: logs(&values)?,
            fetch_max_bytes: values.number("fetch.max.bytes")?,
            fetch_sessions_max: values.number("max.incremental.fetch.session.cache.slots")?,
            request_partitions_max: values.number("max.request.partition.size.limit")?,
            producer_id_expiration: values.millis("producer.id.expiration.ms")?,
            broker: values,
        };
        Ok((config, warnings))
    }

    /// Every known key's value, checked by itself; warnings for what is not known and for what has no effect.
    fn check_each(&self) -> Result<(BTreeMap<&'static str, String>, Vec<String>), InvalidConfig> {
        let mut said = BTreeMap::new();
        let mut without_effect = Vec::new();
        let mut warnings = Vec::new();
        for (name, setting) in &self.settings {
            let Some(key) = broker_keys::find(name) else {
                match is_of_listener(name) {
                    true => without_effect.push(name.as_str()),
                    false => warnings.push(unknown_key(name, setting)),
                }
                continue;
            };
            let at_origin = |error| InvalidConfig(format!("{error} (set by {})", setting.origin));
            let value = key.check(&setting.value).map_err(at_origin)?;
            if !key.acts && Some(value.as_str()) != key.default {
                without_effect.push(name);
            }
            said.insert(key.name, value);
        }
        name_broker_twice(&mut said);
        if !without_effect.is_empty() {
            warnings.push(format!("known to Kafka, without effect here: {}", without_effect.join(", ")));
        }
        Ok((said, warnings))
    }
}

/// `listener.name.<listener>.<key>`: a key for one listener alone.
fn is_of_listener(name: &str) -> bool {
    let rest = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(_, key)| BROKER_KEYS.iter().any(|known| key.ends_with(known.name)))
}

/// `broker.id` is the older name of `node.id` (`AbstractKafkaConfig.populateSynonyms`).
fn name_broker_twice(said: &mut BTreeMap<&'static str, String>) {
    match (said.get("node.id").cloned(), said.get("broker.id").cloned()) {
        (Some(id), None) => said.insert("broker.id", id),
        (None, Some(id)) => said.insert("node.id", id),
        _ => None,
    };
}

fn unknown_key(name: &str, setting: &Setting) -> String {
    let unknown = format!("unknown configuration key '{name}' (set by {})", setting.origin);
    match nearest_name(name) {
        Some(nearest) => format!("{unknown}; did you mean '{nearest}'?"),
        None => unknown,
    }
}

/// The broker's name for a topic's key, else the known name that resembles most, if any does.
fn nearest_name(name: &str) -> Option<&'static str> {
    if let Some(topic) = topic_keys::find(name) {
        return topic.synonyms.first().map(|(broker, _)| *broker);
    }
    let resemblance = |key| strsim::normalized_damerau_levenshtein(name, key);
    let all = BROKER_KEYS.iter().map(|key| (resemblance(key.name), key.name));
    all.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(resemblance, _)| *resemblance > 0.7).map(|(_, nearest)| nearest)
}

fn check_together(values: &BrokerValues) -> Result<(), InvalidConfig> {
    require(values.text("node.id") == values.text("broker.id"), || {
        "You must set `node.id` to the same value as `broker.id`.".to_owned()
    })?;
    let roles = values.text("process.roles").unwrap_or_default();
    require(roles.split(',').any(|role| role == "broker"), || {
        format!("process.roles: '{roles}': this process is always a broker (broker or broker,controller)")
    })?;
    let retention = topic_keys::find("retention.ms").and_then(|topic| values.inherited(topic));
    require(retention.as_deref() != Some("0"), || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    })?;
    let (dedupe, threads): (i64, i64) = (values.number(DEDUPE_BYTES)?, values.number("log.cleaner.threads")?);
    require(dedupe / threads.max(1) > DEDUPE_BYTES_OF_A_THREAD_ABOVE, || {
        format!("{DEDUPE_BYTES} ({dedupe}) must be more than 1 MiB per cleaner thread (log.cleaner.threads={threads})")
    })?;
    let (queued, request): (i64, i64) = (values.number(QUEUED_BYTES)?, values.number("socket.request.max.bytes")?);
    require(!values.is_said(QUEUED_BYTES) || queued <= 0 || queued >= request, || {
        format!("{QUEUED_BYTES} ({queued}) must be larger or equal to socket.request.max.bytes ({request})")
    })?;
    let (min, max): (u64, u64) =
        (values.number("group.min.session.timeout.ms")?, values.number("group.max.session.timeout.ms")?);
    require(min <= max, || {
        format!("group.min.session.timeout.ms ({min}) must be less or equal to group.max.session.timeout.ms ({max})")
    })?;
    let (idle, delay): (i64, i64) =
        (values.number("connections.max.idle.ms")?, values.number("connection.failed.authentication.delay.ms")?);
    require(idle < 0 || delay < idle, || {
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} \
             to prevent failed authentication responses from timing out"
        )
    })?;
    let per_ip_overrides = values.text("max.connections.per.ip.overrides").unwrap_or_default();
    require(values.text("max.connections.per.ip") != Some("0") || !per_ip_overrides.is_empty(), || {
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.".to_owned()
    })
}

fn check_inter_broker_listener(values: &BrokerValues, listeners: &[super::Listener]) -> Result<(), InvalidConfig> {
    let Some(name) = values.text("inter.broker.listener.name") else { return Ok(()) };
    let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    require(names.contains(&name.to_uppercase().as_str()), || {
        format!("inter.broker.listener.name: '{name}': names none of the listeners ({})", names.join(", "))
    })
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), InvalidConfig> {
    if holds { Ok(()) } else { Err(InvalidConfig(otherwise())) }
}

fn log_dirs(values: &BrokerValues) -> Vec<PathBuf> {
    let key = if values.is_said("log.dirs") { "log.dirs" } else { "log.dir" };
    values.list(key).into_iter().map(PathBuf::from).collect()
}

fn network(values: &BrokerValues) -> Result<Network, InvalidConfig> {
    let request_bytes_max = values.number("socket.request.max.bytes")?;
    Ok(Network {
        request_bytes_max,
        queued_bytes_max: match values.number::<i64>(QUEUED_BYTES)? {
            // Kafka's default, -1, is no bound.
            ..=0 => usize::MAX,
            _ if values.is_said(QUEUED_BYTES) => values.number(QUEUED_BYTES)?,
            _ => values.number::<usize>(QUEUED_BYTES)?.max(request_bytes_max),
        },
        connections_max: values.number("max.connections")?,
        connections_per_ip_max: values.number("max.connections.per.ip")?,
        connections_per_ip_overrides: per_ip_overrides(values)?,
        idle_max: match values.number::<i64>("connections.max.idle.ms")? {
            ..0 => None,
            _ => Some(values.millis("connections.max.idle.ms")?),
        },
        backlog: values.number("socket.listen.backlog.size")?,
        send_buffer_bytes: buffer_bytes(values, "socket.send.buffer.bytes")?,
        receive_buffer_bytes: buffer_bytes(values, "socket.receive.buffer.bytes")?,
    })
}

fn buffer_bytes(values: &BrokerValues, name: &str) -> Result<Option<u32>, InvalidConfig> {
    match values.text(name) {
        Some("-1") => Ok(None),
        _ => values.number(name).map(Some),
    }
}

/// `host:count,…`, for every address of the host.
fn per_ip_overrides(values: &BrokerValues) -> Result<HashMap<IpAddr, usize>, InvalidConfig> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let mut overrides = HashMap::new();
    for entry in values.list(KEY) {
        let refuse = |text: String| InvalidConfig(format!("{KEY}: '{entry}': {text}"));
        let pair = entry.rsplit_once(':').map(|(host, count)| (host.trim(), count.trim().parse()));
        let Some((host, Ok(count))) = pair.filter(|(host, _)| !host.is_empty()) else {
            return Err(refuse("not HOST:COUNT".to_owned()));
        };
        let addresses = (host, 0).to_socket_addrs();
        let addresses = addresses.map_err(|error| refuse(format!("cannot resolve the host: {error}")))?;
        overrides.extend(addresses.map(|address| (address.ip().to_canonical(), count)));
    }
    Ok(overrides)
}

fn topics(values: &BrokerValues) -> Result<Topics, InvalidConfig> {
    Ok(Topics {
        auto_create: values.boolean("auto.create.topics.enable"),
        partitions: values.number("num.partitions")?,
        replication_factor: values.number("default.replication.factor")?,
        delete_enabled: values.boolean("delete.topic.enable"),
    })
}

fn logs(values: &BrokerValues) -> Result<Logs, InvalidConfig> {
    Ok(Logs {
        retention_check_interval: values.millis("log.retention.check.interval.ms")?,
        initial_delay: values.millis("log.initial.task.delay.ms")?,
        start_checkpoint_interval: values.millis("log.flush.start.offset.checkpoint.interval.ms")?,
        checkpoint_interval: values.millis("log.flush.offset.checkpoint.interval.ms")?,
        flush_check_interval: match values.number("log.flush.scheduler.interval.ms")? {
            i64::MAX => None,
            _ => Some(values.millis("log.flush.scheduler.interval.ms")?),
        },
        recovery_threads: values.number("num.recovery.threads.per.data.dir")?,
        open_files_max: values.text("log.max.open.files").map(|_| values.number("log.max.open.files")).transpose()?,
        cleaner: cleaner(values)?,
    })
}

fn cleaner(values: &BrokerValues) -> Result<Cleaner, InvalidConfig> {
    let io_bytes_per_second = values.float("log.cleaner.io.max.bytes.per.second")?;
    Ok(Cleaner {
        enabled: values.boolean("log.cleaner.enable"),
        threads: values.number("log.cleaner.threads")?,
        backoff: values.millis("log.cleaner.backoff.ms")?,
        dedupe_buffer_bytes: values.number(DEDUPE_BYTES)?,
        load_factor: values.float("log.cleaner.io.buffer.load.factor")?,
        io_buffer_bytes: values.number("log.cleaner.io.buffer.size")?,
        io_bytes_per_second: (io_bytes_per_second < f64::MAX).then_some(io_bytes_per_second),
    })
}

fn groups(values: &BrokerValues) -> Result<Groups, InvalidConfig> {
    Ok(Groups {
        initial_rebalance_delay: values.millis("group.initial.rebalance.delay.ms")?,
        session_timeout_min: values.millis("group.min.session.timeout.ms")?,
        session_timeout_max: values.millis("group.max.session.timeout.ms")?,
        members_max: values.number("group.max.size")?,
        offset_metadata_bytes_max: values.number("offset.metadata.max.bytes")?,
        offsets_partitions: values.number("offsets.topic.num.partitions")?,
        offsets_segment_bytes: values.number("offsets.topic.segment.bytes")?,
        offsets_retention: Duration::from_secs(60 * values.number::<u64>("offsets.retention.minutes")?),
        offsets_retention_check_interval: values.millis("offsets.retention.check.interval.ms")?,
    })
}
