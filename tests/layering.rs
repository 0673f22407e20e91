//! Holds the house to its layers: a module names only modules below its own.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. Modules in one row may name each other.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    &["broker"],
    &["server"],
    &["api"],
    &["coordinator"],
    &["partition"],
    &["metadata"],
    &["log"],
    &["protocol"],
    &["config", "types", "sys"],
];

fn layer_of(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("module `{module}` has no layer: give it one in LAYERS"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The top-level module that a file belongs to: `src/log/segment.rs` and `src/log.rs` to `log`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// The modules that follow `crate::` (or `ottla::`, as the binary says it), each with where it stands: also in paths
/// inside expressions and in `crate::{a, b::{c}}` groups over several lines.
fn named_in(text: &str) -> Vec<(usize, &str)> {
    let starts = ["crate::", "ottla::"].iter().flat_map(|start| text.match_indices(start));
    let mut named = Vec::new();
    for (at, start) in starts {
        let rest = &text[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.push((at, identifier(rest)));
            continue;
        };
        let (mut depth, mut expecting) = (1, true);
        for (place, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => expecting = depth == 1,
                _ if expecting && !c.is_whitespace() => {
                    named.push((at, identifier(&group[place..])));
                    expecting = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named.retain(|(_, name)| !name.is_empty() && *name != "self");
    named
}

fn identifier(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// A file with its comments blanked out, so that places stay what they are.
fn code_of(path: &Path) -> String {
    let blank =
        |line: &str| if line.trim_start().starts_with("//") { " ".repeat(line.len()) } else { line.to_string() };
    fs::read_to_string(path).unwrap().lines().map(|line| blank(line) + "\n").collect()
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let names = |text| named_in(text).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("use crate::log::manager;\nlet x = crate::sys::bind();"), ["log", "sys"]);
    assert_eq!(
        names("use crate::{\n    api,\n    log::{self, x::{y, z}},\n    types,\n};\nuse super::{a, b};"),
        ["api", "log", "types"]
    );
    assert_eq!(names("use ottla::{cli, broker};"), ["cli", "broker"]);
}

#[test]
fn no_module_names_one_above_it() {
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for path in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let layer = layer_of(&module);
        let code = code_of(&path);
        for (at, named) in named_in(&code).into_iter().filter(|(_, named)| *named != module) {
            arrows += 1;
            if layer_of(named) < layer {
                let line = code[..at].matches('\n').count() + 1;
                wrong.push(format!("{}:{line}: {module} names {named}", path.display()));
            }
        }
    }
    assert!(arrows > 50, "only {arrows} arrows found: is this test still reading the sources?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_outgrows_its_name() {
    let long: Vec<String> = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")))
        .into_iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            (lines > 600).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
