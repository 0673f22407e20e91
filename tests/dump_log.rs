//! `ottla dump-log`, with the built binary: against what Kafka's own tool printed of Kafka's own files, and with damage.

mod support;

use std::fs;

use support::data_dir::{Data, flip, json_lines, kafka_data, ottla, overwrite, text};

/// Kafka's dumps were cut to so many characters a line.
const DUMP_LINE_CHARS: usize = 400;

/// What of a line both tools must print alike. KRaft's records and those of transactions are not decoded, nor are those of
/// the newer kinds of groups; where a raw payload has line breaks, a line need not be one.
fn comparable(path: &str, line: &str) -> Option<String> {
    if path.contains("__cluster_metadata") || path.contains("__transaction_state") {
        return line.starts_with("baseOffset: ").then(|| line.to_owned());
    }
    let is_undecoded =
        ["3", "5", "6", "7", "8"].iter().any(|kind| line.contains(&format!(r#"key: {{"type":"{kind}""#)));
    let end = line.find(" key: ").filter(|_| is_undecoded).unwrap_or(line.len());
    Some(line[..end].to_owned())
}

#[test]
fn what_is_dumped_is_what_kafkas_tool_prints() {
    let root = kafka_data();
    let (mut files, mut lines) = (0, 0);
    for dump in fs::read_dir(root.path().join("dumps")).unwrap() {
        let dump = text(&fs::read(dump.unwrap().path()).unwrap());
        let path = dump.lines().next().unwrap().strip_prefix("Dumping ").unwrap();
        let output = ottla(&["dump-log", path], root.path());
        assert!(output.status.success() && output.stderr.is_empty(), "{path}: {output:?}");
        let comparable = |dump: &str| dump.lines().filter_map(|line| comparable(path, line)).collect::<Vec<_>>();
        let (ours, theirs) = (comparable(&text(&output.stdout)), comparable(&dump));
        assert_eq!(ours.len(), theirs.len(), "{path}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let is_cut = theirs.chars().count() >= DUMP_LINE_CHARS && ours.starts_with(theirs);
            assert!(ours == theirs || is_cut, "{path}\n kafka {theirs}\n ottla {ours}");
            lines += 1;
        }
        files += 1;
    }
    assert!(files == 40 && lines > 700, "{files} files, {lines} lines");
}

#[test]
fn less_of_the_records_is_printed_on_request() {
    let root = kafka_data();
    let log = "kafka-data/codecs-3/00000000000000000000.log";
    let lines = |args: &[&str]| {
        let output = ottla(&[&["dump-log"], args, &[log]].concat(), root.path());
        text(&output.stdout).lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines(&[]);
    assert_eq!(all.len(), 61);
    assert_eq!(lines(&["--print-data-log"]), all);
    assert_eq!(lines(&["--print-data-log", "--deep-iteration"]), all);
    assert_eq!(lines(&["--print-records", "none"]), all[..1]);
    let metadata = lines(&["--deep-iteration"]);
    assert_eq!(lines(&["--print-records", "metadata"]), metadata);
    assert_eq!(
        metadata[2],
        "| offset: 1 CreateTime: 1700000001000 keySize: 2 valueSize: 16 sequence: 1 headerKeys: []"
    );
    let index = "kafka-data/rolled-0/00000000000000000000.timeindex";
    let output = ottla(&["dump-log", "--verify-index-only", index], root.path());
    assert_eq!(text(&output.stdout), format!("Dumping {index}\n"));
}

#[test]
fn json_has_all_headers_and_bytes_that_are_not_utf_8() {
    let root = kafka_data();
    let output = ottla(&["dump-log", "--json", "kafka-data/codecs-3/00000000000000000000.log"], root.path());
    let lines = json_lines(&output);
    assert_eq!((&lines[0]["type"], &lines[0]["count"]), (&"batch".into(), &60.into()));
    let headers = serde_json::json!([
        {"key": "dup", "value": "1"}, {"key": "dup", "value": "2"}, {"key": "bin", "value": {"base64": "/wA="}},
        {"key": "null", "value": null}
    ]);
    assert_eq!((&lines[1]["type"], &lines[1]["headers"]), (&"record".into(), &headers));
    assert_eq!(lines[2]["payload"], "value-1 value-1 ");
    assert_eq!(lines.len(), 61);
    let output =
        ottla(&["dump-log", "--json", "kafka-data/__consumer_offsets-0/00000000000000000000.log"], root.path());
    let commit = &json_lines(&output)[5];
    assert_eq!((&commit["key"]["data"]["topic"], &commit["payload"]["data"]["offset"]), (&"codecs".into(), &60.into()));
}

#[test]
fn group_records_are_decoded_elsewhere_when_asked_for() {
    let root = kafka_data();
    let name = "00000000000000000000.log";
    fs::copy(root.path().join("kafka-data/__consumer_offsets-0").join(name), root.path().join(name)).unwrap();
    let raw = text(&ottla(&["dump-log", name], root.path()).stdout);
    let decoded = text(&ottla(&["dump-log", "--offsets-decoder", name], root.path()).stdout);
    assert!(!raw.contains("currentStateTimestamp") && decoded.contains("currentStateTimestamp"));
}

#[test]
fn small_files_are_printed_line_by_line() {
    let root = kafka_data();
    for (file, line) in [
        ("kafka-data/log-start-offset-checkpoint", "topic: trimmed partition: 0 offset: 37"),
        ("kafka-data/cleaner-offset-checkpoint", "topic: compacted partition: 0 offset: 300"),
        ("kafka-data/rolled-0/leader-epoch-checkpoint", "epoch: 0 startOffset: 0"),
        ("kafka-data/rolled-0/partition.metadata", "version: 0 topic_id: _4Z1rLlpRn2pfpMERMG01Q"),
    ] {
        let output = ottla(&["dump-log", file], root.path());
        assert_eq!(text(&output.stdout), format!("Dumping {file}\n{line}\n"));
    }
    let output = ottla(&["dump-log", "kafka-data/meta.properties"], root.path());
    assert!(text(&output.stdout).contains("\nversion: 1 cluster.id: "), "{output:?}");
}

#[test]
fn a_dump_names_damage_and_how_much_was_not_read() {
    let data = Data::new();
    let log = "orders-0/00000000000000000000.log";
    let path = data.dir().join(log);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let last = data.batch_positions("orders-0", 0).pop().unwrap();
    let (left, batch_bytes) = (whole.len() as u64 - 5 - last, whole.len() as u64 - last);
    let output = ottla(&["dump-log", log], data.dir());
    assert_eq!(output.status.code(), Some(1));
    let what = format!("byte {last}, offset 4: {left} bytes where a batch needs {batch_bytes}");
    assert_eq!(text(&output.stderr), format!("ottla: damaged: {log}: {what}\n"));
    assert!(
        text(&output.stdout).ends_with(&format!("Found {left} invalid bytes at the end of 00000000000000000000.log\n"))
    );
    let output = ottla(&["dump-log", "--json", log], data.dir());
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
    let lines = json_lines(&output);
    let [.., damage, unread] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&damage["type"], &damage["position"], &damage["offset"]), (&"damage".into(), &last.into(), &4.into()));
    assert_eq!((&unread["type"], &unread["bytes"]), (&"unread".into(), &left.into()));
}

#[test]
fn a_dump_goes_on_behind_a_batch_with_a_wrong_crc() {
    let data = Data::new();
    let log = "orders-0/00000000000000000000.log";
    flip(&data.dir().join(log), data.batch_positions("orders-0", 0)[0] + 80);
    let output = ottla(&["dump-log", "--print-records", "none", log], data.dir());
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    let valid: Vec<&str> = stdout.lines().filter_map(|line| line.split("isvalid: ").nth(1)).collect();
    assert_eq!(valid, ["false", "true", "true"]);
    assert!(text(&output.stderr).starts_with(&format!("ottla: damaged: {log}: byte 0, offset 0: CRC ")), "{output:?}");
}

#[test]
fn a_dump_of_an_index_says_where_it_disagrees_with_the_log() {
    let data = Data::new();
    let index = "orders-0/00000000000000000000.index";
    overwrite(&data.dir().join(index), 4, &7_u32.to_be_bytes());
    let output = ottla(&["dump-log", index], data.dir());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!("ottla: damaged: {index}: byte 0: disagrees with the log: offset 3 at position 7: names no batch\n")
    );
}

#[test]
fn what_cannot_be_dumped_is_named_and_the_rest_is_dumped() {
    let root = kafka_data();
    fs::write(root.path().join("notes.txt"), "").unwrap();
    let files = ["nowhere.log", "kafka-data/rolled-0", "notes.txt", "kafka-data/meta.properties"];
    let output = ottla(&[&["dump-log"], &files[..]].concat(), root.path());
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    let [missing, folder, unknown] = stderr.lines().collect::<Vec<_>>()[..] else { panic!("{output:?}") };
    assert!(missing.starts_with("ottla: damaged: nowhere.log: No such file"), "{missing}");
    assert!(folder.starts_with("ottla: damaged: kafka-data/rolled-0: a folder"), "{folder}");
    assert!(unknown.starts_with("ottla: damaged: notes.txt: its name does not say what it holds"), "{unknown}");
    assert!(text(&output.stdout).contains("version: 1"), "{output:?}");
}
