//! Where configuration comes from: a properties file, the environment, assignments and flags of the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::{InvalidConfig, properties};

/// Raw configuration, not yet checked: `key -> (value, where it was said)`, later sources overriding earlier ones.
#[derive(Debug, Clone, Default)]
pub struct RawConfig {
    pub(super) settings: BTreeMap<String, Setting>,
    /// Whether the start must fail where a listener's clients could not be told an address that leads to it.
    pub(super) all_must_be_advertised: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: String,
    /// For messages: `server.properties:12`, `KAFKA_LISTENERS`, `--override`.
    pub(super) origin: String,
}

/// Read by Kafka's scripts and images, not by its broker (`KafkaDockerWrapper`, `kafka-run-class.sh`).
const NOT_KEYS: [&str; 18] = [
    "KAFKA_CLASSPATH",
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_TOOLS_ROOT_LOGLEVEL",
    "KAFKA_MODE",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

impl RawConfig {
    /// Reads a `server.properties`.
    pub fn file(&mut self, path: &Path) -> Result<(), InvalidConfig> {
        let origin = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| InvalidConfig(format!("--config: '{origin}': {error}")))?;
        // Java reads ISO 8859-1, in which any bytes are text; people write UTF-8.
        let text =
            String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(|&b| b as char).collect());
        self.properties(&text, &origin)
    }

    /// Takes the assignments of a text in the syntax of `java.util.Properties`.
    pub fn properties(&mut self, text: &str, origin: &str) -> Result<(), InvalidConfig> {
        let properties = properties::parse(text)
            .map_err(|error| InvalidConfig(format!("{origin}:{}: \\u without four hexadecimal digits", error.line)))?;
        for property in properties {
            self.set(&property.key, &property.value, format!("{origin}:{}", property.line));
        }
        Ok(())
    }

    /// Takes the `KAFKA_*` variables: `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`, `__` an underscore, `___` a dash.
    pub fn environment(&mut self, vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), InvalidConfig> {
        for (variable, value) in vars {
            let Some(variable) = variable.to_str().filter(|variable| !NOT_KEYS.contains(variable)) else { continue };
            let Some(name) = variable.strip_prefix("KAFKA_").filter(|name| !name.is_empty()) else { continue };
            let Some(value) = value.to_str() else {
                return Err(InvalidConfig(format!("{variable}: not UTF-8")));
            };
            let key = name.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_");
            self.set(&key, value, variable.to_owned());
        }
        Ok(())
    }

    /// Takes one `--override KEY=VALUE`.
    pub fn assign(&mut self, assignment: &str) -> Result<(), InvalidConfig> {
        match assignment.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => self.set(key.trim(), value, "--override".to_owned()),
            _ => return Err(InvalidConfig(format!("--override: '{assignment}': not KEY=VALUE"))),
        }
        Ok(())
    }

    /// Takes `--listen HOST:PORT`, several of which become several plaintext listeners.
    pub fn listen(&mut self, addresses: &[String]) {
        let name = |index: usize| match index {
            0 => "PLAINTEXT".to_owned(),
            _ => format!("PLAINTEXT_{}", index + 1),
        };
        let listeners = addresses.iter().enumerate().map(|(index, address)| format!("{}://{address}", name(index)));
        self.set("listeners", &listeners.collect::<Vec<_>>().join(","), "--listen".to_owned());
        if addresses.len() > 1 {
            let protocols: Vec<_> = (0..addresses.len()).map(|index| name(index) + ":PLAINTEXT").collect();
            self.set("listener.security.protocol.map", &protocols.join(","), "--listen".to_owned());
        }
    }

    /// Takes `--data DIR`.
    pub fn data(&mut self, dirs: &[String]) {
        self.set("log.dirs", &dirs.join(","), "--data".to_owned());
    }

    pub(super) fn set(&mut self, key: &str, value: &str, origin: String) {
        self.settings.insert(key.to_owned(), Setting { value: value.to_owned(), origin });
    }
}
