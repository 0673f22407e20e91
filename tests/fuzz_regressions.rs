//! What the fuzz targets have found, and what they begin with, replayed without a fuzzer (`fuzz/README.md`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where the seeds are written to, for the fuzzer.
const SEEDS_DIR: &str = "OTTLA_FUZZ_SEEDS";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Runs an input so that a panic tells which one it was.
fn run(target: fn(&[u8]), input: &[u8], name: &str) {
    std::panic::catch_unwind(|| target(input)).unwrap_or_else(|_| panic!("{name}"));
}

#[test]
fn what_the_fuzzer_once_found_stays_mended() {
    for (name, target) in fuzz::TARGETS {
        let dir = Path::new(ROOT).join("fuzz/regressions").join(name);
        for path in files(&dir).iter().filter(|path| !path.ends_with(".gitkeep")) {
            run(target, &fs::read(path).unwrap(), &path.display().to_string());
        }
    }
}

#[test]
fn every_seed_passes() {
    let kafka = tempfile::tempdir().unwrap();
    let archive = File::open(Path::new(ROOT).join("tests/data/kafka-data.tar.gz")).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(kafka.path()).unwrap();
    for (name, target) in fuzz::TARGETS {
        let seeds = fuzz::seeds::of(name, &kafka.path().join("kafka-data"), &golden_frames());
        assert!(seeds.len() > 5, "{name} has {} seeds", seeds.len());
        for (index, seed) in seeds.iter().enumerate() {
            run(target, seed, &format!("{name}, seed {index}"));
        }
        if let Some(dir) = std::env::var_os(SEEDS_DIR) {
            let dir = Path::new(&dir).join(name);
            fs::create_dir_all(&dir).unwrap();
            for (index, seed) in seeds.iter().enumerate() {
                fs::write(dir.join(format!("seed-{index:03}")), seed).unwrap();
            }
        }
    }
}

/// The requests that `golden_frames.rs` spells out in hex digits.
fn golden_frames() -> Vec<Vec<u8>> {
    let source = fs::read_to_string(Path::new(ROOT).join("tests/golden_frames.rs")).unwrap();
    let frames = source.split("let frame = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let digits = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let bytes = |text: String| text.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let frames: Vec<Vec<u8>> =
        frames.map(|frame| bytes(frame.lines().map(digits).collect::<Vec<_>>().join(" "))).collect();
    assert!(frames.len() > 10, "only {} golden frames found", frames.len());
    frames
}
