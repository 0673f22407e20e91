use std::fs;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    bytes: u64,
    files: u64,
}

impl Watch for Found {
    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn progressed(&mut self, bytes: u64, files: u64) {
        self.bytes += bytes;
        self.files += files;
    }
}

fn offset_index(entries: &[(u32, u32)]) -> Vec<u8> {
    entries.iter().flat_map(|(offset, position)| [offset.to_be_bytes(), position.to_be_bytes()]).flatten().collect()
}

#[test]
fn zeros_behind_the_last_entry_are_padding_and_between_entries_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let entries: Result<Vec<_>, _> = offset_entries(&path).unwrap().collect();
        entries.map(|entries| entries.iter().map(|entry| (entry.relative_offset, entry.position)).collect::<Vec<_>>())
    };
    let zeros = vec![0; 1 << 20];
    assert_eq!(read(&[offset_index(&[(3, 4)]), zeros.clone()].concat()).unwrap(), [(3, 4)]);
    assert_eq!(read(&zeros).unwrap(), []);
    assert_eq!(read(&offset_index(&[(0, 0), (3, 4)])).unwrap(), [(0, 0), (3, 4)]);
    assert_eq!(read(&offset_index(&[(1, 2), (0, 0), (3, 4), (0, 0)])).unwrap(), [(1, 2), (0, 0), (3, 4), (0, 0)]);
    assert!(matches!(read(&[0, 0, 0, 1, 0, 0, 0, 2, 3]), Err(EntryError::LeftOver(1))));
}

#[test]
fn many_disagreements_are_one_finding_with_a_count() {
    let dir = tempfile::tempdir().unwrap();
    let (index, log) = (dir.path().join("index"), dir.path().join("log"));
    fs::write(&index, offset_index(&[(3, 4), (5, 6), (7, 8)])).unwrap();
    fs::write(&log, []).unwrap();
    let found = check_offset_index(&index, Offset(10), &BatchFile::open(&log).unwrap()).unwrap().unwrap();
    assert_eq!(found.to_string(), "offset 13 at position 4: behind the end of the log (and 2 more)");
    assert_eq!(found.position, 0);
}

#[test]
fn a_survey_counts_what_a_walk_reports() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("t-0");
    fs::create_dir(&folder).unwrap();
    let batch = crate::protocol::builder::BatchBuilder::new(crate::types::Timestamp(1)).record(None, None);
    let batch = batch.build().unwrap().bytes;
    fs::write(folder.join("00000000000000000000.log"), &batch).unwrap();
    fs::write(folder.join("00000000000000000000.log.deleted"), &batch).unwrap();
    fs::write(folder.join("00000000000000000000.index"), []).unwrap();
    let mut found = Found::default();
    let counts = verify_log_dir(dir.path(), &mut found).unwrap();
    let survey = survey(dir.path()).unwrap();
    assert_eq!(survey, Survey { files: 1, bytes: batch.len() as u64 });
    assert_eq!((found.files, found.bytes, counts.bytes), (survey.files, survey.bytes, survey.bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_bytes_make_a_verification_panic(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 10)) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t-0");
        fs::create_dir(&folder).unwrap();
        let names = [
            "00000000000000000000.log",
            "00000000000000000009.log",
            "00000000000000000000.index",
            "00000000000000000000.timeindex",
            "00000000000000000000.txnindex",
            "00000000000000000000.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ];
        for (name, content) in names.iter().zip(&contents) {
            fs::write(folder.join(name), content).unwrap();
        }
        for name in [META_PROPERTIES, RECOVERY_POINT_CHECKPOINT] {
            fs::write(dir.path().join(name), &contents[9]).unwrap();
        }
        let mut found = Found::default();
        let counts = verify_log_dir(dir.path(), &mut found).unwrap();
        let damaged = found.findings.iter().filter(|finding| finding.severity == Severity::Damage).count();
        prop_assert_eq!(counts.damaged, damaged as u64);
    }
}
