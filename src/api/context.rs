//! What a handler is given.

use std::net::SocketAddr;
use std::sync::Arc;

use super::fetch_session::FetchSessions;
use super::producer_ids::ProducerIds;
use crate::config::{Config, Listener};
use crate::coordinator::group::GroupCoordinator;
use crate::metadata::Metadata;
use crate::partition::Registry;

/// The parts of the broker that handlers work on; one for the whole process.
#[derive(Debug)]
pub struct Services {
    pub config: Config,
    pub cluster_id: String,
    pub metadata: Arc<Metadata>,
    pub partitions: Arc<Registry>,
    pub groups: Arc<GroupCoordinator>,
    pub fetch_sessions: FetchSessions,
    pub producer_ids: ProducerIds,
    /// Turns true when the broker stops: nothing waits any longer.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// The entry of `listeners` that it came in by.
    pub listener: Listener,
    /// Our address, as the client reached it.
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// One request's surroundings.
#[derive(Debug, Clone)]
pub struct Context {
    pub services: Arc<Services>,
    pub client: Arc<Client>,
    /// The request's version; inside what the table serves.
    pub version: i16,
    pub client_id: Option<kafka_protocol::protocol::StrBytes>,
}

impl Context {
    /// The host and port at which this client is told to find this broker: what `advertised.listeners` says of its
    /// listener, else the address at which it reached us.
    pub fn advertised(&self) -> (String, u16) {
        match &self.client.listener.advertised {
            Some((host, port)) => (host.clone(), *port),
            None => (self.client.local.ip().to_canonical().to_string(), self.client.local.port()),
        }
    }

    /// Runs `work` on the blocking pool. It runs to its end even if the connection goes away meanwhile.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Services) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let services = self.services.clone();
        tokio::task::spawn_blocking(move || work(&services)).await.map_err(|failed| Refused(failed.to_string()))
    }
}

/// A request that Kafka answers by closing the connection; the text goes to the broker's log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);
