mod container;
mod kafka;
mod listeners;
mod loading;
mod topics;

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::*;

/// What these lines of a server.properties give.
fn load(properties: &str) -> Result<(Config, Vec<String>), String> {
    let mut raw = RawConfig::default();
    raw.properties(properties, "server.properties").unwrap();
    raw.validate().map_err(|error| error.0)
}

fn config(properties: &str) -> Config {
    load(properties).unwrap().0
}

fn warnings(properties: &str) -> Vec<String> {
    load(properties).unwrap().1
}

fn error(properties: &str) -> String {
    load(properties).unwrap_err()
}

fn overrides(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn env(values: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    values.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn find<'a>(described: &'a [Described], name: &str) -> &'a Described {
    described.iter().find(|one| one.name == name).unwrap()
}
