use std::fs;
use std::sync::Arc;

use super::*;
use crate::metadata::{Metadata, Topic};

const FILE: &str = "metadata.redb";

fn create(name: &str, partitions: i32) -> Change {
    Change::CreateTopic { name: name.into(), id: TopicId::random(), partitions, configs: Default::default() }
}

fn commit(metadata: &Metadata, change: Change) -> Arc<Image> {
    let mut edit = metadata.edit();
    edit.apply(change).unwrap();
    edit.commit().unwrap()
}

fn open(dir: &std::path::Path) -> Metadata {
    Metadata::load(Box::new(LocalStore::open(dir).unwrap())).unwrap()
}

fn topics(image: &Image) -> Vec<Topic> {
    image.topics().map(|topic| topic.as_ref().clone()).collect()
}

/// What a process that is killed leaves: the file as it stands, without redb's orderly close.
fn copy_of_open_store(dir: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join(FILE), copy.path().join(FILE)).unwrap();
    copy
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path());
    commit(&metadata, create("a", 1));
    commit(&metadata, create("b", 10_000));
    let gone = metadata.image().topic("a").unwrap().id;
    let image = commit(&metadata, Change::DeleteTopic { id: gone });
    drop(metadata);

    let metadata = open(dir.path());
    assert_eq!(metadata.image().version, 3);
    assert_eq!(topics(&metadata.image()), topics(&image));
    assert_eq!(metadata.image().partitions(), 10_000);
}

#[test]
fn what_was_committed_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path());
    for index in 0..20 {
        let image = commit(&metadata, create(&format!("topic-{index}"), 3));
        let copy = copy_of_open_store(dir.path());
        assert_eq!(topics(&open(copy.path()).image()), topics(&image));
    }
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(store.allocate_producer_ids(1000).unwrap(), 0);
    let crashed = copy_of_open_store(dir.path());
    assert_eq!(LocalStore::open(crashed.path()).unwrap().allocate_producer_ids(1000).unwrap(), 1000);
    drop(store);
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(store.allocate_producer_ids(1000).unwrap(), 1000);
    assert!(store.allocate_producer_ids(i64::MAX).is_err());
    assert_eq!(store.allocate_producer_ids(1000).unwrap(), 2000);
}

#[test]
fn deleted_ids_are_kept_until_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path());
    commit(&metadata, create("a", 1));
    let id = metadata.image().topic("a").unwrap().id;
    commit(&metadata, Change::DeleteTopic { id });
    drop(metadata);
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(store.deleted().unwrap(), [id].into());
    store.forget_deleted(&[id]).unwrap();
    assert_eq!(store.deleted().unwrap(), [].into());
}

#[test]
fn a_file_that_is_no_store_is_refused_by_name() {
    for garbage in [&b"x"[..], &[0; 100], &[0xff; 4096], &[7; 200_000], b"redb\x1A\x0A\xA9\x0D\x0A", &[b'r'; 64]] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), garbage).unwrap();
        let error = LocalStore::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), garbage, "left as it was for whoever moves it away");
    }
}

#[test]
fn an_empty_file_is_a_store_that_a_crash_left_unmade() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), []).unwrap();
    assert_eq!(open(dir.path()).image().version, 0);
}

#[test]
fn a_store_that_a_crash_left_half_made_is_made_again() {
    let whole = tempfile::tempdir().unwrap();
    drop(LocalStore::open(whole.path()).unwrap());
    let whole = fs::read(whole.path().join(FILE)).unwrap();
    for length in [0, 1, 512, whole.len()] {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = dir.path().join("metadata.redb.tmp");
        fs::write(&unfinished, &whole[..length]).unwrap();
        assert_eq!(open(dir.path()).image().version, 0);
        assert!(!unfinished.exists());
        assert_eq!(open(dir.path()).image().version, 0);
    }
}

#[test]
fn a_store_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _holder = LocalStore::open(dir.path()).unwrap();
    assert!(LocalStore::open(dir.path()).is_err());
}

/// Deterministic noise, so that a failure can be looked at again.
fn noise(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_or_the_same_topics_but_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path());
    for index in 0..50 {
        commit(&metadata, create(&format!("topic-{index}"), 3));
    }
    let image = metadata.image();
    let crashed = fs::read(dir.path().join(FILE)).unwrap();
    drop(metadata);
    let closed = fs::read(dir.path().join(FILE)).unwrap();
    let mut noise = noise(7);
    for round in 0..60 {
        let mut bytes = if round % 2 == 0 { closed.clone() } else { crashed.clone() };
        for _ in 0..=noise(3) {
            let below = [512, bytes.len()][noise(2)];
            let at = noise(below);
            bytes[at] = noise(256) as u8;
        }
        if round % 10 == 0 {
            bytes.truncate(noise(bytes.len()));
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), &bytes).unwrap();
        match LocalStore::open(dir.path()).and_then(|store| store.load()) {
            // A crashed file whose newest commit is damaged goes back to the one before it.
            Ok(read) if read.version < image.version => {
                assert!(read.topics().all(|topic| image.topic(&topic.name) == Some(topic)), "round {round}");
            }
            Ok(read) => assert_eq!(topics(&read), topics(&image), "round {round}"),
            Err(error) => assert!(error.to_string().contains(FILE), "round {round}: {error}"),
        }
    }
}

#[test]
fn a_store_is_examined_as_it_lies_and_left_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(LocalStore::examine(dir.path()).unwrap().is_none());
    let metadata = open(dir.path());
    let image = commit(&metadata, create("a", 3));
    // Both as a killed process leaves it, and after an orderly close.
    let killed = copy_of_open_store(dir.path());
    drop(metadata);
    for dir in [killed.path(), dir.path()] {
        let before = fs::read(dir.join(FILE)).unwrap();
        assert_eq!(topics(&LocalStore::examine(dir).unwrap().unwrap()), topics(&image));
        assert_eq!(fs::read(dir.join(FILE)).unwrap(), before);
    }
}

#[test]
fn an_examined_store_with_flipped_bytes_is_an_error_or_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path());
    let image = commit(&metadata, create("a", 3));
    drop(metadata);
    let path = dir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for position in (0..whole.len()).step_by(whole.len() / 199) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match LocalStore::examine(dir.path()) {
            Ok(examined) => assert_eq!(topics(&examined.unwrap()), topics(&image), "{position}"),
            Err(error) => {
                assert!(error.to_string().contains(FILE), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}
