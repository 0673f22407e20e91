//! Where a command takes the broker's configuration from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::config::{InvalidConfig, MOUNTED_FILE, RawConfig};

#[derive(Debug, Default, Args)]
pub(super) struct Sources {
    /// Read a server.properties.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one configuration key; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Listen here (listeners); may be repeated, [::1]:9092 for IPv6.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    listen: Vec<String>,
    /// Keep the data here (log.dirs); several by commas.
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    data: Vec<String>,
    /// Fill in what fits a container where nothing is configured.
    #[arg(long, env = "OTTLA_CONTAINER", value_parser = FalseyValueParser::new())]
    container: bool,
}

impl Sources {
    /// What the environment alone says.
    pub(super) fn of_environment(container: bool) -> Sources {
        Sources { container, ..Sources::default() }
    }

    pub(super) fn read(&self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<RawConfig, InvalidConfig> {
        let variables: Vec<_> = env.into_iter().collect();
        let cluster_id = variables.iter().find(|(name, _)| name == "CLUSTER_ID").and_then(|(_, value)| value.to_str());
        let cluster_id = cluster_id.map(str::to_owned);
        let mut raw = RawConfig::default();
        let mounted = Path::new(MOUNTED_FILE);
        match &self.config {
            Some(path) => raw.file(path)?,
            None if self.container && mounted.exists() => raw.file(mounted)?,
            None => {}
        }
        raw.environment(variables)?;
        for assignment in &self.overrides {
            raw.assign(assignment)?;
        }
        if !self.listen.is_empty() {
            raw.listen(&self.listen);
        }
        if !self.data.is_empty() {
            raw.data(&self.data);
        }
        if self.container {
            raw.fill_in_for_container(cluster_id.as_deref());
        }
        Ok(raw)
    }
}
