//! The same over the wire, with the built binary: what is damaged is answered with KAFKA_STORAGE_ERROR or stops the start
//! with a line that names it, other partitions serve, and a producer whose last batch was torn goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kafka_protocol::messages::FetchResponse;
use ottla::protocol::batch::Batch;
use tempfile::TempDir;

use super::counts::{Counts, Outcome};
use super::fixture::{read_tree, sequenced, temp_dir, verify};
use super::support::topics::{create_topic, fetch, produce};
use super::support::{Broker, Client};
use super::{is_long, seed};

const NONE: i16 = 0;
const KAFKA_STORAGE_ERROR: i16 = 56;
/// Of the idempotent producer, in each of the two topics.
const BATCHES: i32 = 6;
const LOG: &str = "damaged-0/00000000000000000000.log";
const STORE: &str = "__metadata/metadata.redb";

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// `damaged` and `whole`, six batches each.
fn written(is_clean: bool) -> Files {
    let broker = Broker::start_on(&Arc::new(temp_dir()), &[]);
    let mut client = broker.connect();
    for topic in ["damaged", "whole"] {
        create_topic(&mut client, topic);
        for number in 0..BATCHES {
            let produced = produce(&mut client, topic, sequenced(number, number.into()).bytes);
            assert_eq!((produced.error_code, produced.base_offset), (NONE, i64::from(number) * 2));
        }
    }
    let data = broker.data().clone();
    if is_clean {
        assert!(broker.stop().success());
    } else {
        broker.kill();
    }
    let mut files = Files::new();
    read_tree(data.path(), Path::new(""), &mut files);
    files
}

fn lay_out(files: &Files) -> Arc<TempDir> {
    let root = temp_dir();
    for (path, content) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Arc::new(root)
}

/// The error, and the base offsets of whole batches; `Err`: a CRC that does not hold.
fn fetched(client: &mut Client, topic: &str) -> (i16, Result<Vec<i64>, String>) {
    let response: FetchResponse = client.request(12, &fetch(topic, 0));
    let partition = &response.responses[0].partitions[0];
    let mut records = partition.records.clone().unwrap_or_default();
    let mut offsets = Vec::new();
    while !records.is_empty() {
        let batch = Batch::split_from(&mut records).and_then(|batch| batch.check_crc().map(|()| batch));
        match batch {
            Ok(batch) => offsets.push(batch.header.base_offset.0),
            Err(error) => return (partition.error_code, Err(error.to_string())),
        }
    }
    (partition.error_code, Ok(offsets))
}

fn offsets(batches: i32) -> Vec<i64> {
    (0..batches).map(|number| i64::from(number) * 2).collect()
}

/// What a start that is refused says.
fn refusal(data: &TempDir) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_flipped_bit_stops_a_partition_or_the_start_by_name_or_nothing_at_all() {
    let mut counts = Counts::default();
    let mut random = fastrand::Rng::with_seed(seed());
    for is_clean in [true, false] {
        let files = written(is_clean);
        let targets = [LOG, "damaged-0/partition.metadata", "meta.properties", STORE];
        let rounds = if is_long() { 200 } else { 3 };
        for path in targets.iter().flat_map(|path| std::iter::repeat_n(*path, rounds)) {
            let mut files = files.clone();
            let bytes = files.get_mut(Path::new(path)).unwrap();
            // Most of the store is zeros that are in no use.
            let used: Vec<usize> = (0..bytes.len()).filter(|at| path != STORE || bytes[*at] != 0).collect();
            let (byte, bit) = (used[random.usize(0..used.len())], random.u8(0..8));
            bytes[byte] ^= 1 << bit;
            let outcome = serve(&files, path);
            let at = format!("clean stop: {is_clean}, {path}, byte {byte}, bit {bit}");
            let outcome = outcome.unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
            counts.add(format!("{} {path}", if is_clean { "clean" } else { "killed" }), 24, outcome);
        }
    }
    counts.print("flipped bits under a broker");
}

fn serve(files: &Files, path: &str) -> Result<Outcome, String> {
    let data = lay_out(files);
    let is_named = verify(data.path()).iter().any(|finding| finding.path.starts_with(data.path().join("damaged-0")));
    let Some(broker) = Broker::try_start_on(&data, &[]) else {
        let said = refusal(&data);
        let is_one_line = said.lines().filter(|line| line.starts_with("ottla: ")).count() == 1;
        let is_one_line = is_one_line && !said.contains("panicked");
        let is_named = said.contains(path) && is_one_line && (path == STORE || path == "meta.properties");
        return if is_named { Ok(Outcome::Refused) } else { Err(format!("refused: {said}")) };
    };
    let mut client = broker.connect();
    if fetched(&mut client, "whole") != (NONE, Ok(offsets(BATCHES))) {
        return Err("the other partition does not serve".to_owned());
    }
    match fetched(&mut client, "damaged") {
        (NONE, Ok(found)) if found == offsets(BATCHES) => Ok(Outcome::Whole),
        (NONE, Ok(found)) if path == LOG && found == offsets(BATCHES - 1) => Ok(Outcome::Cut),
        (NONE, Ok(found)) if path == LOG && found.len() == BATCHES as usize => {
            Ok(if is_named { Outcome::FoundByVerify } else { Outcome::Shifted })
        }
        (NONE, Err(_)) if path == LOG => Ok(Outcome::FoundByReader),
        (KAFKA_STORAGE_ERROR, Ok(none)) if none.is_empty() && path != "meta.properties" => Ok(Outcome::Offline),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn damage_that_the_store_notices_by_an_assertion_is_told_in_one_line() {
    let mut files = written(true);
    // Of the first page in use, the byte that says what it is.
    files.get_mut(Path::new(STORE)).unwrap()[4096] ^= 0x55;
    let said = refusal(&lay_out(&files));
    assert!(said.contains("the file is damaged (") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_producer_whose_last_batch_was_torn_goes_on_without_gap_or_duplicate() {
    let mut counts = Counts::default();
    let files = written(false);
    let log = &files[Path::new(LOG)];
    let batch_bytes = log.len() / BATCHES as usize;
    let step = if is_long() { 1 } else { batch_bytes / 5 };
    for cut in (1..batch_bytes).step_by(step) {
        let mut files = files.clone();
        files.insert(LOG.into(), log[..log.len() - cut].to_vec());
        let broker = Broker::start_on(&lay_out(&files), &[]);
        let mut client = broker.connect();
        assert_eq!(fetched(&mut client, "damaged"), (NONE, Ok(offsets(BATCHES - 1))), "{cut} bytes cut");
        let mut send = |number: i32| {
            let produced = produce(&mut client, "damaged", sequenced(number, number.into()).bytes);
            (produced.error_code, produced.base_offset)
        };
        let answers = [BATCHES - 2, BATCHES - 1, BATCHES - 1, BATCHES].map(&mut send);
        let expected = [BATCHES - 2, BATCHES - 1, BATCHES - 1, BATCHES].map(|number| (NONE, i64::from(number) * 2));
        assert_eq!(answers, expected, "{cut} bytes cut");
        assert_eq!(fetched(&mut client, "damaged"), (NONE, Ok(offsets(BATCHES + 1))), "{cut} bytes cut");
        assert_eq!(fetched(&mut client, "whole"), (NONE, Ok(offsets(BATCHES))), "{cut} bytes cut");
        counts.add("torn tail", 24, Outcome::Cut);
    }
    counts.print("torn tails under a broker");
}

#[test]
fn a_partition_metadata_that_is_lost_or_does_not_read_is_written_again() {
    let files = written(true);
    let metadata = Path::new("damaged-0/partition.metadata");
    for content in [None, Some(Vec::new()), Some(b"garbage".to_vec())] {
        let mut changed = files.clone();
        changed.remove(metadata);
        changed.extend(content.map(|content| (metadata.to_owned(), content)));
        let data = lay_out(&changed);
        let broker = Broker::start_on(&data, &[]);
        assert_eq!(fetched(&mut broker.connect(), "damaged"), (NONE, Ok(offsets(BATCHES))));
        assert_eq!(std::fs::read(data.path().join(metadata)).unwrap(), files[metadata]);
    }
}
