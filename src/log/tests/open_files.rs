use std::sync::Arc;

use super::*;
use crate::log::open_files::OpenFiles;
use crate::log::removals::Removals;

const CAP: usize = 8;

/// Descriptors of this process that lead under `root`.
fn open_under(root: &std::path::Path) -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.starts_with(root)).count()
}

#[test]
fn fifty_logs_are_written_and_read_with_eight_files() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(OpenFiles::up_to(CAP));
    let context = Arc::new(DirContext::new(root.path(), Arc::default(), files, Arc::new(Removals::default())));
    let options = |index: usize| OpenOptions {
        dir: root.path().join(format!("topic-{index}")),
        context: Arc::clone(&context),
        ..Fixture::new(600).options
    };
    let mut logs: Vec<_> = (0..50).map(|index| open(options(index)).unwrap()).collect();
    let mut models = vec![Vec::new(); logs.len()];
    for round in 0..12 {
        for ((writer, reader), model) in logs.iter_mut().zip(&mut models) {
            let batch = batch(2, NOW.0 + round * 10, 40);
            model.extend(expected(&batch, model.len() as i64));
            append(writer, batch);
            assert_eq!(consume(reader, Offset(0), UNLIMITED), *model);
            assert!(open_under(root.path()) <= CAP);
        }
    }
    for (writer, _) in &mut logs {
        writer.close().unwrap();
        assert!(open_under(root.path()) <= CAP);
    }
    for (index, model) in models.iter().enumerate() {
        let (_writer, reader) = open(options(index)).unwrap();
        assert_eq!(consume(&reader, Offset(0), UNLIMITED), *model);
        assert!(open_under(root.path()) <= CAP);
    }
}

#[test]
fn a_slice_that_is_being_sent_keeps_its_file_though_the_cap_takes_it() {
    let root = tempfile::tempdir().unwrap();
    let files = Arc::new(OpenFiles::up_to(1));
    let context = Arc::new(DirContext::new(root.path(), Arc::default(), files, Arc::default()));
    let options = |index: usize| OpenOptions {
        dir: root.path().join(format!("topic-{index}")),
        context: Arc::clone(&context),
        ..Fixture::new(10_000).options
    };
    let mut logs: Vec<_> = (0..4).map(|index| open(options(index)).unwrap()).collect();
    let slices: Vec<_> = logs
        .iter_mut()
        .map(|(writer, reader)| {
            append(writer, batch(2, NOW.0, 40));
            reader.read(Offset(0), UNLIMITED, false).unwrap().slice.unwrap()
        })
        .collect();
    assert!(slices.iter().all(|slice| batches(slice).len() == 1));
}
