use super::*;
use crate::protocol::ErrorCode;
use crate::types::{ProducerEpoch, ProducerId};

const PRODUCER: ProducerId = ProducerId(77);

fn sequenced(sequence: i32, epoch: i16) -> Batch {
    BatchBuilder::new(NOW)
        .producer(PRODUCER, ProducerEpoch(epoch), sequence)
        .record(None, Some(b"a"))
        .record(None, Some(b"b"))
        .build()
        .unwrap()
}

fn code_of(writer: &mut LogWriter, batch: Batch) -> ErrorCode {
    writer.append(&mut [batch], EPOCH, NOW).unwrap_err().error_code()
}

#[test]
fn a_retry_is_answered_with_its_offsets_and_written_once() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    let first = append(&mut writer, sequenced(0, 0));
    append(&mut writer, batch(1, NOW.0, 10));
    append(&mut writer, sequenced(2, 0));
    let size = reader.size_bytes();
    let again = append(&mut writer, sequenced(0, 0));
    assert_eq!(again, crate::log::Appended { duplicate: true, ..first });
    assert_eq!((reader.end_offset(), reader.size_bytes()), (Offset(5), size));
}

#[test]
fn a_gap_and_an_old_epoch_are_refused_and_write_nothing() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, sequenced(0, 1));
    assert_eq!(code_of(&mut writer, sequenced(4, 1)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(code_of(&mut writer, sequenced(0, 0)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(reader.end_offset(), Offset(2));
    assert_eq!(writer.producers.entries().len(), 1);
}

#[test]
fn producers_are_known_after_a_clean_stop_and_after_a_crash() {
    let mut fixture = Fixture::new(300);
    fixture.options.producer_id_expiration = Duration::MAX;
    let (mut writer, _) = fixture.open();
    for sequence in 0..6 {
        append(&mut writer, sequenced(sequence * 2, 0));
    }
    assert!(fixture.files("log").len() > 1);
    let check = |(mut writer, reader): (LogWriter, LogReader)| {
        let end = reader.end_offset();
        assert!(append(&mut writer, sequenced(10, 0)).duplicate);
        assert_eq!(code_of(&mut writer, sequenced(14, 0)), ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(reader.end_offset(), end);
    };
    check(fixture.open_unclean().unwrap());
    fixture.files("snapshot").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    check(fixture.open_unclean().unwrap());
    writer.close().unwrap();
    check(fixture.open());
    let newest = fixture.files("snapshot").pop().unwrap();
    std::fs::write(newest, "garbage").unwrap();
    check(fixture.open());
}

#[test]
fn a_producer_whose_records_were_cut_may_send_them_again() {
    let fixture = Fixture::new(10_000);
    let (mut writer, reader) = fixture.open();
    append(&mut writer, sequenced(0, 0));
    let size = reader.size_bytes();
    append(&mut writer, sequenced(2, 0));
    writer.close().unwrap();
    // The snapshot at the end speaks of a batch that the disk has lost.
    std::fs::OpenOptions::new().write(true).open(&fixture.files("log")[0]).unwrap().set_len(size + 20).unwrap();
    let (mut writer, _) = fixture.open_unclean().unwrap();
    assert!(fixture.files("snapshot").is_empty());
    let again = append(&mut writer, sequenced(2, 0));
    assert_eq!((again.base_offset, again.duplicate), (Offset(2), false));
}

#[test]
fn idle_producers_are_forgotten_in_time() {
    let fixture = Fixture::new(10_000);
    let (mut writer, _) = fixture.open();
    append(&mut writer, sequenced(0, 0));
    let much_later = Timestamp(Timestamp::now().0 + 365 * 24 * 3_600_000);
    writer.append(&mut [batch(1, much_later.0, 10)], EPOCH, much_later).unwrap();
    assert!(writer.producers.entries().is_empty());
}
