//! `ottla verify`: reads everything in data directories, says what is damaged and what a start would do about it, and
//! changes nothing.

mod progress;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::value::{Fields, Json, Value};
use crate::log::inspect::{self, Counts, Finding, Severity, Survey, Watch};
use crate::metadata::LocalStore;
use progress::Progress;

const METADATA_FOLDER: &str = "__metadata";
const METADATA_OUTCOME: &str = "stops the start; if it is moved away, --adopt brings topics back from their folders";

const LIVE: &str =
    ": its files move while they are read, and what looks like damage at the end of a log may be an append under way";

const HELP: &str = "\
Every batch is read (length, magic, CRC, offsets), its records decoded and counted, the
indexes and the aborted transactions compared with it. Snapshots, checkpoints, leader epochs,
partition.metadata, meta.properties and the metadata store are read. What lies in the
directories and is not known is named. Of __cluster_metadata-0, which is Kafka's own, only the
batches are checked. Files are opened to read and no lock is taken: a broker may run, but then
its files move meanwhile.

Ends with 1 if something is damaged. --json is one object per line, with the \"type\" damage,
note or total.

Examples:
  ottla verify ottla-data
  ottla verify --json /disk1/kafka /disk2/kafka | jq 'select(.type == \"damage\")'";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Verify {
    #[arg(required = true, value_name = "DATA-DIR")]
    dirs: Vec<PathBuf>,
    /// Print JSON, one object per line.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// 1 where something is damaged or cannot be read.
    pub fn run(&self) -> ExitCode {
        let mut reporter = Reporter {
            out: io::stdout().lock(),
            json: self.json,
            progress: Progress::new(Survey::default(), Instant::now(), io::stderr().is_terminal()),
            failed: None,
        };
        match self.verify(&mut reporter) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            // Whoever reads has seen enough; whether there is damage is not known.
            Err(error) => super::Failure::Output(error).report(),
        }
    }

    /// How many damages there are. An error: the output cannot be written.
    fn verify(&self, reporter: &mut Reporter<impl Write>) -> io::Result<u64> {
        for dir in &self.dirs {
            if let Some(pid) = inspect::lock_holder(dir) {
                super::tell(&format!("ottla: warning: {}: in use by process {pid}{LIVE}\n", dir.display()));
            }
        }
        // What cannot be listed is told where it is read.
        let surveys = self.dirs.iter().filter_map(|dir| inspect::survey(dir).ok());
        let total = surveys
            .fold(Survey::default(), |sum, dir| Survey { files: sum.files + dir.files, bytes: sum.bytes + dir.bytes });
        reporter.progress = Progress::new(total, Instant::now(), io::stderr().is_terminal());
        let mut counts = Counts::default();
        for dir in &self.dirs {
            counts += self.verify_dir(dir, reporter);
        }
        reporter.total(&counts);
        reporter.failed.take().map_or(Ok(counts.damaged), Err)
    }

    fn verify_dir(&self, dir: &Path, reporter: &mut Reporter<impl Write>) -> Counts {
        let verified = inspect::verify_log_dir(dir, reporter);
        let mut counts = verified.unwrap_or_else(|error| {
            reporter.found(Finding::damage(dir, error, "stops the start"));
            Counts { damaged: 1, ..Counts::default() }
        });
        let store = dir.join(METADATA_FOLDER);
        if let Err(error) = LocalStore::examine(&store) {
            reporter.found(Finding::damage(&store, error, METADATA_OUTCOME));
            counts.damaged += 1;
        }
        counts
    }
}

struct Reporter<W> {
    out: W,
    json: bool,
    progress: Progress,
    /// Why the output cannot be written.
    failed: Option<io::Error>,
}

impl<W: Write> Reporter<W> {
    fn line(&mut self, line: String) {
        if let Some(clear) = self.progress.clear() {
            super::tell(clear);
        }
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{line}").err();
        }
    }

    fn total(&mut self, counts: &Counts) {
        let fields: [(&'static str, u64); 7] = [
            ("dirs", counts.dirs),
            ("partitions", counts.partitions),
            ("segments", counts.segments),
            ("batches", counts.batches),
            ("records", counts.records),
            ("bytes", counts.bytes),
            ("damaged", counts.damaged),
        ];
        if self.json {
            let mut object: Fields = vec![("type", "total".into())];
            object.extend(fields.map(|(name, count)| (name, count.into())));
            return self.line(Json(&object.into()).to_string());
        }
        self.line(fields.map(|(name, count)| format!("{count} {name}")).join(", "));
    }
}

impl<W: Write> Watch for Reporter<W> {
    fn found(&mut self, finding: Finding) {
        let kind = match finding.severity {
            Severity::Damage => "damage",
            Severity::Note => "note",
        };
        if !self.json {
            return self.line(format!("{kind}: {finding}; {}", finding.outcome));
        }
        let object: Fields = vec![
            ("type", kind.into()),
            ("path", finding.path.display().to_string().into()),
            ("position", finding.position.into()),
            ("offset", finding.offset.map(|offset| offset.0).into()),
            ("what", finding.what.into()),
            ("outcome", finding.outcome.into()),
        ];
        self.line(Json(&Value::Object(object)).to_string());
    }

    fn progressed(&mut self, bytes: u64, files: u64) {
        if let Some(text) = self.progress.add(bytes, files, Instant::now()) {
            super::tell(&text);
        }
    }
}
