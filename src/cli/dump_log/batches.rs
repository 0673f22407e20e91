//! Batches and their records.

use std::io::{self, Write};
use std::path::Path;

use super::{DumpLog, Output, Records, damage, group_records};
use crate::cli::value::{Fields, Value};
use crate::log::inspect::{BatchFile, Content, Located, Walked, kraft_snapshot_id};
use crate::log::names::{CONSUMER_OFFSETS_TOPIC, FolderName};
use crate::protocol::batch::{Batch, BatchHeader, TimestampType};
use crate::protocol::compression::{Codec, DECOMPRESSED_BYTES_MAX};
use crate::protocol::records::{BatchRecords, ControlType, EndTxnMarker, HeaderView, RecordView};
use crate::types::Offset;

impl DumpLog {
    pub(super) fn dump_batches(&self, path: &Path, content: Content, out: &mut Output<impl Write>) -> io::Result<()> {
        let expected = match content {
            Content::Log(base_offset) => {
                out.text(&format!("Log starting offset: {base_offset}"))?;
                base_offset
            }
            _ => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                out.text(&match kraft_snapshot_id(&name) {
                    Some((offset, epoch)) => format!("Snapshot end offset: {offset}, epoch: {epoch}"),
                    None => "KRaft bootstrap snapshot".to_owned(),
                })?;
                Offset::ZERO
            }
        };
        let log = match BatchFile::open(path) {
            Ok(log) => log,
            Err(error) => return out.damage(&damage(path, error)),
        };
        self.dump_all(path, &log, expected, out)
    }

    fn dump_all(
        &self,
        path: &Path,
        log: &BatchFile,
        mut expected: Offset,
        out: &mut Output<impl Write>,
    ) -> io::Result<()> {
        let is_group_topic = self.offsets_decoder || is_in_group_topic(path);
        let mut batches = log.batches();
        while let Some(step) = batches.next() {
            let Walked { batch, crc } = match step {
                Ok(walked) => walked,
                Err(error) => {
                    let position = batches.next_position();
                    out.damage(&damage(path, error).at(position).offset(expected))?;
                    return out.unread(path, log.size() - position);
                }
            };
            out.line("batch", batch_fields(&batch, crc.is_ok()))?;
            let damaged = |what: String| damage(path, what).at(batch.position).offset(expected);
            let is_valid = crc.is_ok();
            if let Err(error) = crc {
                out.damage(&damaged(error.to_string()))?;
            } else if batch.header.base_offset < expected {
                let found = batch.header.base_offset;
                out.damage(&damaged(format!("offsets from {found} on where {expected} or more must follow")))?;
            }
            if self.records() != Records::None
                && let Some(what) = self.dump_records(log, &batch, is_group_topic, out)?
            {
                out.damage(&damaged(what))?;
            }
            if is_valid {
                expected = expected.max(batch.header.next_offset());
            }
        }
        Ok(())
    }

    /// What is wrong with the records, after those before it were printed.
    fn dump_records(
        &self,
        log: &BatchFile,
        located: &Located,
        is_group_topic: bool,
        out: &mut Output<impl Write>,
    ) -> io::Result<Option<String>> {
        let batch = match log.read(located) {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                return Ok(Some(format!("records of more than {DECOMPRESSED_BYTES_MAX} bytes are not looked at")));
            }
            Err(error) => return Ok(Some(error.to_string())),
        };
        let records = match BatchRecords::open(&batch, DECOMPRESSED_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return Ok(Some(error.to_string())),
        };
        for record in &records {
            match record {
                Ok(record) => {
                    out.line("record", self.record_fields(&batch, &records, &record, is_group_topic, out.json))?
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        Ok(None)
    }

    fn record_fields(
        &self,
        batch: &Batch,
        records: &BatchRecords,
        record: &RecordView<'_>,
        is_group_topic: bool,
        json: bool,
    ) -> Fields {
        let header = &batch.header;
        let mut fields = vec![
            ("offset", records.offset(record).0.into()),
            (timestamp_name(header), records.timestamp(record).0.into()),
            ("keySize", size(record.key)),
            ("valueSize", size(record.value)),
            ("sequence", sequence(header, record).into()),
        ];
        let copied = |bytes: &[u8]| Value::Bytes(bytes.to_vec().into());
        if json {
            let of = |it: HeaderView<'_>| vec![("key", copied(it.key)), ("value", it.value.map(copied).into())];
            fields.push(("headers", record.headers().map(of).collect::<Vec<Fields>>().into()));
        } else {
            fields.push(("headerKeys", Value::List(record.headers().map(|header| copied(header.key)).collect())));
        }
        if header.attributes.is_control() {
            fields.extend(control_fields(record));
        } else if self.records() == Records::All {
            let decoded = if is_group_topic { record.key.map(|key| group_fields(records, record, key)) } else { None };
            fields.extend(decoded.unwrap_or_else(|| {
                let key = record.key.map(|key| ("key", copied(key)));
                key.into_iter().chain(record.value.map(|value| ("payload", copied(value)))).collect()
            }));
        }
        fields
    }
}

fn batch_fields(batch: &Located, is_valid: bool) -> Fields {
    let header = &batch.header;
    let attributes = header.attributes;
    let delete_horizon = attributes.has_delete_horizon().then_some(header.base_timestamp.0);
    let codec = Codec::from_id(attributes.codec_id());
    vec![
        ("baseOffset", header.base_offset.0.into()),
        ("lastOffset", header.last_offset().0.into()),
        ("count", header.records_count.into()),
        ("baseSequence", header.base_sequence.into()),
        ("lastSequence", header.last_sequence().into()),
        ("producerId", header.producer_id.0.into()),
        ("producerEpoch", header.producer_epoch.0.into()),
        ("partitionLeaderEpoch", header.partition_leader_epoch.0.into()),
        ("isTransactional", attributes.is_transactional().into()),
        ("isControl", attributes.is_control().into()),
        ("deleteHorizonMs", Value::OptionalLong(delete_horizon)),
        ("position", batch.position.into()),
        (timestamp_name(header), header.max_timestamp.0.into()),
        ("size", (header.size() as u64).into()),
        ("magic", i32::from(header.magic).into()),
        ("compresscodec", codec.map_or_else(|_| Value::from(attributes.codec_id()), |codec| codec.name().into())),
        ("crc", header.crc.into()),
        ("isvalid", is_valid.into()),
    ]
}

fn timestamp_name(header: &BatchHeader) -> &'static str {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// -1 for null.
fn size(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Int(-1), |bytes| (bytes.len() as u64).into())
}

/// Wraps from the largest to 0 (`DefaultRecordBatch.incrementSequence`).
fn sequence(header: &BatchHeader, record: &RecordView<'_>) -> i32 {
    let before = BatchHeader { last_offset_delta: record.offset_delta, ..*header };
    before.last_sequence()
}

fn control_fields(record: &RecordView<'_>) -> Fields {
    if let Some(marker) = EndTxnMarker::of_record(record) {
        let control = if marker.committed { "COMMIT" } else { "ABORT" };
        return vec![("endTxnMarker", control.into()), ("coordinatorEpoch", marker.coordinator_epoch.into())];
    }
    let id = record.key.and_then(ControlType::parse).map_or(-1, ControlType::id);
    vec![("controlType", format!("{}({id})", control_name(id)).into())]
}

/// `ControlRecordType`.
fn control_name(id: i16) -> &'static str {
    match id {
        0 => "ABORT",
        1 => "COMMIT",
        2 => "LEADER_CHANGE",
        3 => "SNAPSHOT_HEADER",
        4 => "SNAPSHOT_FOOTER",
        5 => "KRAFT_VERSION",
        6 => "KRAFT_VOTERS",
        _ => "UNKNOWN",
    }
}

fn group_fields(records: &BatchRecords, record: &RecordView<'_>, key: &[u8]) -> Fields {
    match group_records::decode(key, record.value) {
        Ok((key, payload)) => vec![("key", key), ("payload", payload)],
        // Kafka's words.
        Err(error) => vec![("key", format!("Error at offset {}, skipping. {error}", records.offset(record)).into())],
    }
}

fn is_in_group_topic(path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).and_then(|name| FolderName::parse(name.to_str()?));
    folder.is_some_and(|folder| &*folder.partition.topic == CONSUMER_OFFSETS_TOPIC)
}
