//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Network;

/// Counts connections against `max.connections` and `max.connections.per.ip`.
#[derive(Debug)]
pub(super) struct Admission {
    all: Arc<Semaphore>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    per_ip_max: usize,
    per_ip_overrides: HashMap<IpAddr, usize>,
}

/// One admitted connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(network: &Network) -> Arc<Admission> {
        Arc::new(Admission {
            all: Arc::new(Semaphore::new(network.connections_max.min(Semaphore::MAX_PERMITS))),
            per_ip: Mutex::default(),
            per_ip_max: network.connections_per_ip_max,
            per_ip_overrides: network.connections_per_ip_overrides.clone(),
        })
    }

    /// Waits until there may be one more connection.
    pub(super) async fn room(&self) -> io::Result<OwnedSemaphorePermit> {
        self.all.clone().acquire_owned().await.map_err(io::Error::other)
    }

    /// Counts a connection from `ip`; `None` where that address already has all it may have.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, permit: OwnedSemaphorePermit) -> Option<Admitted> {
        let ip = ip.to_canonical();
        let limit = self.per_ip_overrides.get(&ip).copied().unwrap_or(self.per_ip_max);
        let mut per_ip = self.per_ip.lock();
        let count = per_ip.get(&ip).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        per_ip.insert(ip, count + 1);
        Some(Admitted { admission: self.clone(), ip, _permit: permit })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut per_ip = self.admission.per_ip.lock();
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}
