//! `ottla dump-log`: what the files of a log hold, in the text form of Kafka's `kafka-dump-log` or as JSON.
//!
//! Where Kafka's tool shows these files, a line is what it prints, with these differences: KRaft's control records are
//! named but not decoded, and of `__consumer_offsets` what the group coordinator does not read (groups of the newer
//! protocols) is shown as bytes. Damage goes to stderr, and ends with code 1.

mod batches;
mod group_records;
mod small_files;

#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::value::{Fields, Json, Value, text_line};
use crate::log::inspect::{Content, Finding};

const HELP: &str = "\
Files are told by their names: .log, .index, .timeindex, .txnindex and .snapshot (also with
.deleted, .cleaned or .swap behind), leader-epoch-checkpoint, the offset checkpoints,
partition.metadata, meta.properties, KRaft's .checkpoint.

Text is what Kafka's kafka-dump-log prints; keys, values and header keys that are not UTF-8
have replacement characters in it. --json is one object per line, \"file\" and \"type\" and the
names of the text; bytes are a string, or {\"base64\": \"…\"} where they are not UTF-8, and all
headers are there with their values.

Ends with 1 where bytes are damaged: file, position, offset and what is wrong are on stderr
(with --json among the other objects, with \"type\":\"damage\").

Examples:
  ottla dump-log ottla-data/orders-0/00000000000000000000.log
  ottla dump-log --json ottla-data/orders-0/*.log | jq 'select(.type == \"batch\")'";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct DumpLog {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON, one object per line.
    #[arg(long)]
    json: bool,
    /// What to print of a batch's records.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Records::All)]
    print_records: Records,
    /// Kafka's name for --print-records metadata.
    #[arg(long, conflicts_with = "print_records")]
    deep_iteration: bool,
    /// Kafka's name for --print-records all; goes before --deep-iteration.
    #[arg(long, conflicts_with = "print_records")]
    print_data_log: bool,
    /// Take records for those of __consumer_offsets wherever the file lies; in a folder of that topic they are anyway.
    #[arg(long)]
    offsets_decoder: bool,
    /// Compare indexes with their log without printing their entries.
    #[arg(long)]
    verify_index_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Records {
    /// Batches alone.
    None,
    /// Offsets, timestamps, sizes and header keys.
    Metadata,
    /// Keys and values too.
    All,
}

impl DumpLog {
    /// 1 where something is damaged or cannot be read.
    pub fn run(&self) -> ExitCode {
        let mut out = Output::new(BufWriter::new(io::stdout().lock()), self.json);
        match self.dump(&mut out).and_then(|()| out.writer.flush()) {
            Ok(()) if out.damaged => ExitCode::FAILURE,
            Ok(()) => ExitCode::SUCCESS,
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => super::Failure::Output(error).report(),
        }
    }

    /// An error: the output cannot be written.
    fn dump(&self, out: &mut Output<impl Write>) -> io::Result<()> {
        for path in &self.files {
            out.begin(path)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match Content::of(&name) {
                Some(content @ (Content::Log(_) | Content::KraftSnapshot)) => self.dump_batches(path, content, out)?,
                Some(Content::OffsetIndex(base_offset)) => self.dump_offset_index(path, base_offset, out)?,
                Some(Content::TimeIndex(base_offset)) => self.dump_time_index(path, base_offset, out)?,
                Some(Content::TxnIndex(_)) => small_files::txn_index(path, out)?,
                Some(Content::ProducerSnapshot(_)) => small_files::producer_snapshot(path, out)?,
                Some(Content::LeaderEpochs) => small_files::leader_epochs(path, out)?,
                Some(Content::Offsets) => small_files::offsets(path, out)?,
                Some(Content::PartitionMetadata) => small_files::partition_metadata(path, out)?,
                Some(Content::MetaProperties) => small_files::meta_properties(path, out)?,
                None => out.damage(&damage(path, why_nothing_is_known(path)))?,
            }
        }
        Ok(())
    }

    fn records(&self) -> Records {
        match (self.print_data_log, self.deep_iteration) {
            (true, _) => Records::All,
            (false, true) => Records::Metadata,
            (false, false) => self.print_records,
        }
    }
}

/// Of a path whose name says nothing.
fn why_nothing_is_known(path: &Path) -> String {
    match path.metadata() {
        Err(error) => error.to_string(),
        Ok(metadata) if metadata.is_dir() => "a folder: name the files in it".to_owned(),
        Ok(_) => "its name does not say what it holds (--help lists the names that do)".to_owned(),
    }
}

/// What a start makes of it is for `verify` to say.
fn damage(path: &Path, what: impl ToString) -> Finding {
    Finding::damage(path, what, "")
}

/// Where lines go, and in which form.
struct Output<W> {
    writer: W,
    json: bool,
    file: String,
    damaged: bool,
    /// Where damage goes that has no place among the lines.
    tell: fn(&str),
}

impl<W: Write> Output<W> {
    fn new(writer: W, json: bool) -> Output<W> {
        Output { writer, json, file: String::new(), damaged: false, tell: super::tell }
    }

    fn begin(&mut self, path: &Path) -> io::Result<()> {
        self.file = path.display().to_string();
        self.text(&format!("Dumping {}", path.display()))
    }

    /// What has no place in JSON.
    fn text(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.writer, "{text}") }
    }

    fn line(&mut self, kind: &'static str, fields: Fields) -> io::Result<()> {
        if !self.json {
            let indent = if kind == "record" { "| " } else { "" };
            return writeln!(self.writer, "{indent}{}", text_line(&fields));
        }
        let mut object = vec![("file", Value::from(self.file.as_str())), ("type", kind.into())];
        object.extend(fields);
        writeln!(self.writer, "{}", Json(&object.into()))
    }

    fn damage(&mut self, finding: &Finding) -> io::Result<()> {
        self.damaged = true;
        if self.json {
            let position = ("position", finding.position.into());
            let offset = ("offset", finding.offset.map(|offset| offset.0).into());
            return self.line("damage", vec![position, offset, ("what", finding.what.as_str().into())]);
        }
        // In the order in which it was found, where both go to a terminal.
        self.writer.flush()?;
        (self.tell)(&format!("ottla: damaged: {finding}\n"));
        Ok(())
    }

    /// Says how much lies behind the damage, as Kafka's tool does.
    fn unread(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        if self.json {
            return self.line("unread", vec![("bytes", bytes.into())]);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.text(&format!("Found {bytes} invalid bytes at the end of {name}"))
    }
}
