//! A log dir that Apache Kafka 4.3.1 wrote, read with our code and compared with what Kafka's own clients and tools
//! say of it (`tests/data/README.md`).

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ottla::config::Compression;
use ottla::log::checkpoint::{self, MetaProperties};
use ottla::log::epoch_cache::EpochCache;
use ottla::log::names::{FileKind, FileName, FileState, FolderName, FolderState};
use ottla::log::producer_snapshot;
use ottla::log::producer_state::{CompletedTxn, ProducerState};
use ottla::protocol::batch::{Batch, TimestampType};
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::{BatchRecords, EndTxnMarker};
use ottla::protocol::validate::{self, ProduceRules};
use ottla::types::{LeaderEpoch, NodeId, Offset, ProducerId, Timestamp};
use serde_json::{Value, json};
use support::kafka::{self, expected};

const LIMIT_BYTES: usize = 64 << 20;

struct KafkaData {
    root: tempfile::TempDir,
}

impl KafkaData {
    fn unpack() -> KafkaData {
        let root = tempfile::tempdir().unwrap();
        for archive in ["kafka-data.tar.gz", "dumps.tar.gz"] {
            let gz = flate2::read::GzDecoder::new(File::open(data_file(archive)).unwrap());
            tar::Archive::new(gz).unpack(root.path()).unwrap();
        }
        KafkaData { root }
    }

    fn log_dir(&self) -> PathBuf {
        self.root.path().join("kafka-data")
    }

    /// Every partition's folder, Kafka's own topics included.
    fn partitions(&self) -> Vec<PathBuf> {
        let is_partition = |path: &PathBuf| path.is_dir() && FolderName::parse(name_of(path)).is_some();
        list(&self.log_dir()).into_iter().filter(is_partition).collect()
    }

    /// The partitions that clients read, with what they read.
    fn expected(&self) -> Vec<(PathBuf, Value)> {
        let expected = expected();
        let mut partitions = Vec::new();
        for (topic, description) in expected["topics"].as_object().unwrap() {
            for (partition, content) in description["partitions"].as_object().unwrap() {
                partitions.push((self.log_dir().join(format!("{topic}-{partition}")), content.clone()));
            }
        }
        assert_eq!(partitions.len(), 14);
        partitions
    }
}

fn data_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The live files of one kind in a partition's folder, by offset.
fn files(partition: &Path, kind: FileKind) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        FileName::parse(name_of(path)).is_some_and(|name| name.kind == kind && name.state == FileState::Live)
    };
    list(partition).into_iter().filter(wanted).collect()
}

/// The batches of a segment, each checked against its CRC.
fn batches_of(segment: &Path) -> Vec<Batch> {
    kafka::batches(fs::read(segment).unwrap().into())
}

fn batches(partition: &Path) -> Vec<Batch> {
    files(partition, FileKind::Log).iter().flat_map(|segment| batches_of(segment)).collect()
}

/// Applies a partition's batches to `state`, as a log does when it recovers.
fn replay<'a>(state: &mut ProducerState, batches: impl IntoIterator<Item = &'a Batch>) -> Vec<CompletedTxn> {
    let mut completed = Vec::new();
    for batch in batches {
        state.update(&batch.header);
        if batch.header.attributes.is_control() {
            let marker = EndTxnMarker::of(batch, LIMIT_BYTES);
            if let Some(marker) = marker {
                completed.extend(state.completed_by(&batch.header, marker));
                state.update_marker(&batch.header, marker);
            }
        }
    }
    completed
}

/// `name: value name: value …` as the dump tool prints it.
fn dump_fields(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<_> = line.split(' ').collect();
    words.windows(2).filter_map(|pair| Some((pair[0].strip_suffix(':')?, pair[1]))).collect()
}

/// The dumps of one kind of file, each with the file that its first line names.
fn dumps_of(data: &KafkaData, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for dump in list(&data.root.path().join("dumps")) {
        let text = fs::read_to_string(&dump).unwrap();
        let dumped = text.lines().find_map(|line| line.strip_prefix("Dumping "));
        if let Some(path) = dumped.filter(|path| path.ends_with(extension)) {
            found.push((data.root.path().join(path), text));
        }
    }
    found
}

#[test]
fn every_record_is_what_kafkas_clients_read() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for (partition, content) in data.expected() {
        let records = kafka::records_as_json(&batches(&partition), content["log_start"].as_i64().unwrap());
        let wanted = content["records"].as_array().unwrap();
        assert_eq!(records.len(), wanted.len(), "{}", partition.display());
        for (record, wanted) in records.iter().zip(wanted) {
            assert_eq!(record, wanted, "{}", partition.display());
        }
        count += records.len();
    }
    assert_eq!(count, 40 + 5 * 60 + 26 + 3 * 10 + 300 + 63 + 13 + 12);
}

#[test]
fn the_data_covers_every_codec() {
    let data = KafkaData::unpack();
    for (partition, codec) in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate()
    {
        for batch in batches(&data.log_dir().join(format!("codecs-{partition}"))) {
            assert_eq!(Codec::from_id(batch.header.attributes.codec_id()), Ok(codec));
        }
    }
}

#[test]
fn the_last_offset_of_each_log_is_its_high_watermark() {
    let data = KafkaData::unpack();
    for (partition, content) in data.expected() {
        let end = batches(&partition).last().unwrap().header.next_offset();
        assert_eq!(Some(end.0), content["high_watermark"].as_i64(), "{}", partition.display());
    }
}

#[test]
fn batch_headers_are_what_kafkas_dump_tool_prints() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for (segment, dump) in dumps_of(&data, ".log") {
        let lines: Vec<_> = dump.lines().filter(|line| line.starts_with("baseOffset:")).collect();
        let batches = batches_of(&segment);
        assert_eq!(batches.len(), lines.len(), "{}", segment.display());
        let mut position = 0;
        for (batch, line) in batches.iter().zip(lines) {
            let (header, fields) = (&batch.header, dump_fields(line));
            let attributes = header.attributes;
            let horizon = match attributes.has_delete_horizon() {
                true => format!("OptionalLong[{}]", header.base_timestamp.0),
                false => "OptionalLong.empty".to_owned(),
            };
            for (name, ours) in [
                ("baseOffset", header.base_offset.to_string()),
                ("lastOffset", header.last_offset().to_string()),
                ("count", header.records_count.to_string()),
                ("baseSequence", header.base_sequence.to_string()),
                ("lastSequence", header.last_sequence().to_string()),
                ("producerId", header.producer_id.0.to_string()),
                ("producerEpoch", header.producer_epoch.0.to_string()),
                ("partitionLeaderEpoch", header.partition_leader_epoch.0.to_string()),
                ("isTransactional", attributes.is_transactional().to_string()),
                ("isControl", attributes.is_control().to_string()),
                ("deleteHorizonMs", horizon),
                ("position", position.to_string()),
                ("CreateTime", header.max_timestamp.0.to_string()),
                ("size", header.size().to_string()),
                ("compresscodec", Codec::from_id(attributes.codec_id()).unwrap().name().to_owned()),
                ("crc", header.crc.to_string()),
            ] {
                assert_eq!(fields.get(name), Some(&ours.as_str()), "{name} in {line}");
            }
            position += header.size();
            count += 1;
        }
    }
    assert_eq!(count, 19 + 153 + 37 + 22);
}

#[test]
fn an_uncompressed_batch_built_again_has_the_same_bytes() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for batch in data.partitions().iter().flat_map(|partition| batches(partition)) {
        let header = &batch.header;
        let attributes = header.attributes;
        // The cleaner's batches have gaps and count from a horizon; the broker's stamp is not the builder's to make.
        let rewritten = header.records_count != header.last_offset_delta + 1 || attributes.has_delete_horizon();
        let stamped = attributes.timestamp_type() == TimestampType::LogAppendTime;
        if attributes.codec_id() != 0 || rewritten || stamped || header.records_count == 0 {
            continue;
        }
        if attributes.is_control() && EndTxnMarker::of(&batch, LIMIT_BYTES).is_none() {
            continue;
        }
        let mut built = build_again(&batch);
        built.header.base_offset = header.base_offset;
        built.header.partition_leader_epoch = header.partition_leader_epoch;
        assert_eq!(built.header, *header);
        assert_eq!(built.records(), batch.records());
        count += 1;
    }
    assert_eq!(count, 240);
}

/// The batch as its producer may have sent it, under any codec, is compressed to what Kafka made of it, but for how well.
#[test]
fn a_batch_compressed_anew_is_the_one_that_kafka_stored() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for partition in 0..3 {
        for stored in batches(&data.log_dir().join(format!("configured-{partition}"))) {
            assert_eq!(Codec::from_id(stored.header.attributes.codec_id()), Ok(Codec::Zstd));
            for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
                let now = stored.header.max_timestamp;
                let sent = rebuilder(&stored).build_compressed(codec, None).unwrap().unwrap();
                let mut ours = validate::validate(sent.bytes, &rules_of_configured(), now).unwrap();
                ours.check_crc().unwrap();
                let payload = |batch| BatchRecords::open(batch, LIMIT_BYTES).unwrap().payload().to_vec();
                assert_eq!(payload(&ours), payload(&stored));
                // What depends on how well the records were compressed, and what the log sets.
                ours.header.batch_length = stored.header.batch_length;
                ours.header.crc = stored.header.crc;
                ours.header.base_offset = stored.header.base_offset;
                ours.header.partition_leader_epoch = stored.header.partition_leader_epoch;
                assert_eq!(ours.header, stored.header);
                count += 1;
            }
        }
    }
    assert_eq!(count, 4 * 4);
}

/// The topic's `compression.type=zstd` and `max.message.bytes=200000`, and Kafka's defaults.
fn rules_of_configured() -> ProduceRules {
    ProduceRules {
        produce_version: 12,
        message_bytes_max: 200_000,
        segment_bytes: 1 << 30,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compacted: false,
        compression: Compression::Zstd { level: 3 },
        decompressed_bytes_max: LIMIT_BYTES,
    }
}

fn build_again(batch: &Batch) -> Batch {
    let header = &batch.header;
    if header.attributes.is_control() {
        let marker = EndTxnMarker::of(batch, LIMIT_BYTES).unwrap();
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        return BatchBuilder::end_txn_marker(header.max_timestamp, id, epoch, marker).build().unwrap();
    }
    rebuilder(batch).build().unwrap()
}

/// A builder that was given the batch's records.
fn rebuilder(batch: &Batch) -> BatchBuilder {
    let header = &batch.header;
    let records = BatchRecords::open(batch, LIMIT_BYTES).unwrap();
    let mut builder = BatchBuilder::new(header.base_timestamp).producer(
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    );
    if header.attributes.is_transactional() {
        builder = builder.transactional();
    }
    for record in &records {
        let record = record.unwrap();
        let headers: Vec<_> = record.headers().map(|header| (header.key, header.value)).collect();
        builder = builder.record_at(records.timestamp(&record), record.key, record.value, &headers);
    }
    builder
}

#[test]
fn read_committed_shows_what_kafka_showed() {
    let data = KafkaData::unpack();
    for (partition, content) in data.expected() {
        let batches = batches(&partition);
        let mut state = ProducerState::default();
        let mut aborted = replay(&mut state, &batches);
        aborted.retain(|txn| txn.aborted);
        assert_eq!(state.first_undecided_offset(), None);
        let mut visible = Vec::new();
        for batch in batches.iter().filter(|batch| !batch.header.attributes.is_control()) {
            let header = &batch.header;
            let hidden = aborted.iter().any(|txn| {
                txn.producer_id == header.producer_id
                    && (txn.first_offset..txn.last_offset).contains(&header.base_offset)
            });
            let records = BatchRecords::open(batch, LIMIT_BYTES).unwrap();
            if !(hidden && header.attributes.is_transactional()) {
                visible.extend(records.iter().map(|record| records.offset(&record.unwrap()).0));
            }
        }
        visible.retain(|offset| *offset >= content["log_start"].as_i64().unwrap());
        assert_eq!(json!(visible), content["read_committed_offsets"], "{}", partition.display());
    }
}

#[test]
fn aborted_transactions_are_those_of_kafkas_transaction_index() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for partition in data.partitions() {
        let indexed: Vec<u8> =
            files(&partition, FileKind::TxnIndex).iter().flat_map(|file| fs::read(file).unwrap()).collect();
        let completed = replay(&mut ProducerState::default(), &batches(&partition));
        let mut ours = Vec::new();
        for txn in completed.iter().filter(|txn| txn.aborted) {
            ours.extend(0i16.to_be_bytes());
            ours.extend(txn.producer_id.0.to_be_bytes());
            ours.extend(txn.first_offset.0.to_be_bytes());
            ours.extend(txn.last_offset.0.to_be_bytes());
            ours.extend(txn.last_stable_offset.0.to_be_bytes());
            count += 1;
        }
        assert_eq!(ours, indexed, "{}", partition.display());
    }
    assert_eq!(count, 4);
}

#[test]
fn producer_snapshots_are_written_as_they_were_read() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for path in data.partitions().iter().flat_map(|partition| files(partition, FileKind::ProducerSnapshot)) {
        let entries = producer_snapshot::read(&path).unwrap();
        let encoded = producer_snapshot::encode(entries.iter().map(|(id, entry)| (*id, entry)));
        assert_eq!(encoded, fs::read(&path).unwrap(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 20, "{count} snapshots");
}

#[test]
fn replaying_a_log_gives_the_state_of_kafkas_snapshot() {
    let data = KafkaData::unpack();
    let mut producers = 0;
    for partition in data.partitions() {
        let batches = batches(&partition);
        for path in files(&partition, FileKind::ProducerSnapshot) {
            let end = FileName::parse(name_of(&path)).unwrap().offset;
            let mut state = ProducerState::default();
            replay(&mut state, batches.iter().filter(|batch| batch.header.next_offset() <= end));
            let encoded = producer_snapshot::encode(state.entries());
            assert_eq!(encoded, fs::read(&path).unwrap(), "{}", path.display());
            producers += state.len();
        }
    }
    assert!(producers >= 11, "{producers} producers");
}

#[test]
fn producer_snapshots_hold_what_kafkas_dump_tool_prints() {
    let data = KafkaData::unpack();
    let mut count = 0;
    for (snapshot, dump) in dumps_of(&data, ".snapshot") {
        let lines: Vec<_> = dump.lines().filter(|line| line.starts_with("producerId:")).map(dump_fields).collect();
        let entries = producer_snapshot::read(&snapshot).unwrap();
        assert_eq!(entries.len(), lines.len());
        for ((ProducerId(id), entry), fields) in entries.iter().zip(lines) {
            let batch = entry.batches.back().unwrap();
            for (name, ours) in [
                ("producerId", *id),
                ("producerEpoch", i64::from(entry.epoch.0)),
                ("coordinatorEpoch", i64::from(entry.coordinator_epoch)),
                ("lastTimestamp", entry.last_timestamp.0),
                ("firstSequence", i64::from(batch.first_sequence())),
                ("lastSequence", i64::from(batch.last_sequence)),
                ("lastOffset", batch.last_offset.0),
                ("offsetDelta", i64::from(batch.offset_delta)),
            ] {
                assert_eq!(fields.get(name), Some(&ours.to_string().as_str()), "{name}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 4);
}

#[test]
fn offset_checkpoints_are_written_as_they_were_read() {
    let data = KafkaData::unpack();
    for (name, entries) in [
        (checkpoint::RECOVERY_POINT_CHECKPOINT, 20),
        (checkpoint::REPLICATION_OFFSET_CHECKPOINT, 20),
        (checkpoint::LOG_START_OFFSET_CHECKPOINT, 1),
        ("cleaner-offset-checkpoint", 1),
    ] {
        let path = data.log_dir().join(name);
        let kafkas = fs::read(&path).unwrap();
        let offsets = checkpoint::read_offsets(&path).unwrap();
        assert_eq!(offsets.len(), entries);
        checkpoint::write_offsets(&path, offsets.iter().map(|(at, offset)| (at, *offset))).unwrap();
        assert_eq!(fs::read(&path).unwrap(), kafkas, "{name}");
    }
    let starts = checkpoint::read_offsets(&data.log_dir().join(checkpoint::LOG_START_OFFSET_CHECKPOINT)).unwrap();
    assert_eq!((starts[0].0.to_string().as_str(), starts[0].1), ("trimmed-0", Offset(37)));
}

#[test]
fn recovery_points_are_the_ends_of_the_logs() {
    let data = KafkaData::unpack();
    let path = data.log_dir().join(checkpoint::RECOVERY_POINT_CHECKPOINT);
    for (partition, recovery_point) in checkpoint::read_offsets(&path).unwrap() {
        let batches = batches(&data.log_dir().join(partition.to_string()));
        let end = batches.last().map_or(Offset::ZERO, |batch| batch.header.next_offset());
        assert_eq!(recovery_point, end, "{partition}");
    }
}

#[test]
fn leader_epochs_are_written_as_they_were_read_and_cover_the_batches() {
    let data = KafkaData::unpack();
    for partition in data.partitions() {
        let path = partition.join(checkpoint::LEADER_EPOCH_CHECKPOINT);
        let kafkas = fs::read(&path).unwrap();
        let entries = checkpoint::read_epochs(&path).unwrap();
        let epochs = EpochCache::from_entries(entries.iter().copied());
        assert_eq!(epochs.entries(), entries);
        checkpoint::write_epochs(&path, epochs.entries()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), kafkas, "{}", partition.display());
        for batch in batches(&partition) {
            // Below the log start offset nothing is known any more.
            if let Some(epoch) = epochs.epoch_for(batch.header.base_offset) {
                assert_eq!(epoch, batch.header.partition_leader_epoch, "{}", partition.display());
            }
        }
    }
    let trimmed = checkpoint::read_epochs(&data.log_dir().join("trimmed-0/leader-epoch-checkpoint")).unwrap();
    assert_eq!((trimmed[0].epoch, trimmed[0].start_offset), (LeaderEpoch(0), Offset(37)));
}

#[test]
fn partition_metadata_carries_the_topics_id() {
    let data = KafkaData::unpack();
    let expected = expected();
    for partition in data.partitions() {
        let path = partition.join(checkpoint::PARTITION_METADATA);
        let kafkas = fs::read(&path).unwrap();
        let id = checkpoint::read_partition_metadata(&path).unwrap().unwrap();
        checkpoint::write_partition_metadata(&path, id).unwrap();
        assert_eq!(fs::read(&path).unwrap(), kafkas);
        let topic = FolderName::parse(name_of(&partition)).unwrap().partition.topic;
        if let Some(known) = expected["topics"].get(&*topic) {
            assert_eq!(id, kafka::topic_id(known), "{topic}");
        } else {
            assert!(topic.starts_with("__"), "{topic}");
        }
    }
}

#[test]
fn meta_properties_are_written_as_they_were_read_but_for_the_date_above() {
    let data = KafkaData::unpack();
    let path = data.log_dir().join(checkpoint::META_PROPERTIES);
    let kafkas = fs::read_to_string(&path).unwrap();
    let properties: MetaProperties = checkpoint::read_meta_properties(&path).unwrap().unwrap();
    assert_eq!(properties.node_id, NodeId(1));
    assert_eq!(Some(properties.cluster_id.as_str()), expected()["cluster_id"].as_str());
    assert_eq!(properties.directory_id.unwrap().to_string(), "DBPSUKRuSCWSLOxD8-qAcQ");
    checkpoint::write_meta_properties(&path, &properties).unwrap();
    let without_comments: Vec<_> = kafkas.lines().filter(|line| !line.starts_with('#')).collect();
    let ours = fs::read_to_string(&path).unwrap();
    assert_eq!(ours.lines().collect::<Vec<_>>(), without_comments);
}

#[test]
fn every_file_and_folder_has_a_name_that_we_know() {
    let data = KafkaData::unpack();
    let folders: Vec<_> = list(&data.log_dir()).into_iter().filter(|path| path.is_dir()).collect();
    for folder in &folders {
        assert_eq!(FolderName::parse(name_of(folder)).map(|name| name.state), Some(FolderState::Live));
        for file in list(folder) {
            let name = name_of(&file);
            let other = [checkpoint::LEADER_EPOCH_CHECKPOINT, checkpoint::PARTITION_METADATA, "quorum-state"];
            if other.contains(&name) || name.ends_with(".checkpoint") {
                continue;
            }
            let parsed = FileName::parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.state == FileState::Deleted, name.ends_with(".deleted"));
        }
    }
    assert_eq!(folders.len(), data.partitions().len());
}

#[test]
fn log_append_time_is_the_same_for_all_records_of_a_batch() {
    let data = KafkaData::unpack();
    for batch in batches(&data.log_dir().join("appendtime-0")) {
        let records = BatchRecords::open(&batch, LIMIT_BYTES).unwrap();
        let times: Vec<Timestamp> = records.iter().map(|record| records.timestamp(&record.unwrap())).collect();
        assert!(times.iter().all(|time| *time == batch.header.max_timestamp));
    }
}
