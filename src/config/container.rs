//! What a container image fills in where nothing was said, so that `docker run -p 9092:9092` works and so does an
//! environment that was made for Kafka's images (`configure` of apache/kafka and of confluentinc/cp-kafka).

use super::listeners::{ADVERTISED_LISTENERS, LISTENERS, PROTOCOL_MAP};
use super::raw::RawConfig;

/// A file that apache/kafka reads where it is mounted, below the environment.
pub const MOUNTED_FILE: &str = "/mnt/shared/config/server.properties";
/// The volume of Kafka's images.
const DATA_DIR: &str = "/var/lib/kafka/data";
const ORIGIN: &str = "the container's default";

/// For clients of the machine, which come by `-p 9092:9092`.
const OUTSIDE: &str = "PLAINTEXT://:9092";
const OUTSIDE_ADVERTISED: &str = "PLAINTEXT://localhost:9092";
/// For clients in other containers, who are told the address at which they came: 9092 would send them to their own.
const INSIDE: &str = "INTERNAL://:19092";
const INSIDE_PROTOCOL: &str = "INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT";

impl RawConfig {
    /// Fills in what no source has said. `cluster_id` is the images' variable `CLUSTER_ID`.
    pub fn fill_in_for_container(&mut self, cluster_id: Option<&str>) {
        if let Some(id) = cluster_id.filter(|id| !id.is_empty() && !self.says("cluster.id")) {
            self.set("cluster.id", id, "CLUSTER_ID".to_owned());
        }
        if !self.says("log.dirs") && !self.says("log.dir") {
            self.fill_in("log.dirs", DATA_DIR);
        }
        if self.says(LISTENERS) {
            self.all_must_be_advertised = true;
        } else if let Some(listeners) = self.said(ADVERTISED_LISTENERS).and_then(on_all_addresses) {
            self.fill_in(LISTENERS, &listeners);
        } else if self.says(PROTOCOL_MAP) || self.says(ADVERTISED_LISTENERS) {
            self.fill_in(LISTENERS, OUTSIDE);
        } else {
            self.fill_in(LISTENERS, &format!("{OUTSIDE},{INSIDE}"));
            self.fill_in(PROTOCOL_MAP, INSIDE_PROTOCOL);
        }
        if !self.says(ADVERTISED_LISTENERS) && !self.all_must_be_advertised {
            self.fill_in(ADVERTISED_LISTENERS, OUTSIDE_ADVERTISED);
        }
    }

    fn fill_in(&mut self, key: &str, value: &str) {
        self.set(key, value, ORIGIN.to_owned());
    }

    fn says(&self, key: &str) -> bool {
        self.said(key).is_some()
    }

    /// A variable that is set to nothing says nothing, as to the images.
    fn said(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|setting| setting.value.trim()).filter(|value| !value.is_empty())
    }
}

/// Every advertised listener at its own port, on all addresses. `None` where that cannot be told.
fn on_all_addresses(advertised: &str) -> Option<String> {
    let listener = |entry: &str| {
        let (name, address) = entry.trim().split_once("://")?;
        let (_, port) = address.rsplit_once(':')?;
        Some(format!("{name}://:{port}"))
    };
    advertised.split(',').map(listener).collect::<Option<Vec<_>>>().map(|listeners| listeners.join(","))
}
