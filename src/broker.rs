//! Puts the parts together, starts them in order, and stops them in reverse. No logic.

mod descriptors;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::descriptors::Descriptors;
use crate::api::{FetchSessions, ProducerIds, Services};
use crate::config::Config;
use crate::coordinator::group::GroupCoordinator;
use crate::log::LogError;
use crate::log::foreign::{self, ForeignError};
use crate::log::manager::{LogManager, ManagerError, ManagerOptions};
use crate::metadata::store::StoreError;
use crate::metadata::{self, ChangeError, LocalStore, Metadata};
use crate::partition::{Registry, Upkeep};
use crate::server::{Bound, Server};
use crate::sys;
use crate::types::{TopicId, TopicPartition};

/// How long connections may take to finish what is in flight when the broker stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long the logs may take to be flushed after that. Both together stay below the 10 s after which `docker stop` kills.
const FLUSH_PATIENCE: Duration = Duration::from_secs(4);
/// Where the metadata store lies, under the first log directory.
const METADATA_DIR: &str = "__metadata";

/// Why the broker did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    LogDirs(#[from] ManagerError),
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    #[error("metadata: {0}")]
    Store(#[from] StoreError),
    #[error("metadata: {0}")]
    Metadata(#[from] ChangeError),
    #[error("listeners: {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("log: {0}")]
    Log(#[from] LogError),
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error("folder of a deleted topic: {0}")]
    Leftover(io::Error),
    #[error("no log.dirs are configured")]
    NoLogDir,
    #[error("the timers of the group coordinator have failed; the broker was stopped")]
    GroupTimers,
    #[error("the upkeep of the logs has failed; the broker was stopped")]
    Upkeep,
    #[error("all log dirs have failed; the broker was stopped")]
    NoLogDirLeft,
    #[error("the logs could not be flushed within {FLUSH_PATIENCE:?}; the next start recovers them")]
    FlushTimeout,
}

/// Runs a broker until SIGTERM or SIGINT. `started` is when the process began, for the banner.
pub async fn run(mut config: Config, started: Instant) -> Result<(), BrokerError> {
    let mut signals = Signals::new().map_err(BrokerError::Signals)?;
    let open_files_max = share_descriptors(&mut config);
    // Bound before anything else: a port in use must stop the start before a log is touched.
    let bound = bind(&config)?;
    let addresses: Vec<SocketAddr> = bound.iter().filter_map(|bound| bound.address().ok()).collect();
    let (stopping, services) = tokio::select! {
        opened = open(config, open_files_max) => opened?,
        () = signals.next() => {
            tracing::info!("stopped before the start was finished");
            return Ok(());
        }
    };
    let mut group_timers = tokio::spawn(services.groups.clone().run());
    let mut upkeep = Upkeep::start(&services.partitions, &services.config.logs);
    let server = Server::start(services.clone(), bound);
    banner(&services.config, &addresses, started);

    let outcome = tokio::select! {
        () = signals.next() => Ok(()),
        // They run as long as the broker. Without them no group would ever lose a member that died.
        _ = &mut group_timers => Err(BrokerError::GroupTimers),
        () = upkeep.failed() => Err(BrokerError::Upkeep),
        () = until_no_log_dir_is_left(&services) => Err(BrokerError::NoLogDirLeft),
    };
    tracing::info!("stopping; a second signal leaves at once");
    stopping.send_replace(true);
    services.groups.shut_down();
    tokio::select! {
        finished = server.stopped(STOP_PATIENCE) => if !finished {
            tracing::warn!("some connections did not finish within {STOP_PATIENCE:?}");
        },
        () = signals.next() => std::process::exit(1),
    }
    group_timers.abort();
    drop(upkeep);
    tokio::select! {
        closed = blocking(move || services.partitions.close()) => closed?,
        () = tokio::time::sleep(FLUSH_PATIENCE) => return Err(BrokerError::FlushTimeout),
        () = signals.next() => std::process::exit(1),
    }
    tracing::info!("stopped");
    outcome
}

/// Tells those concerned when a log dir fails.
async fn until_no_log_dir_is_left(services: &Services) {
    let manager = services.partitions.manager();
    let mut failures = manager.failures().subscribe();
    while !manager.have_all_failed() {
        if failures.changed().await.is_err() {
            return;
        }
        services.partitions.wake_offline();
        services.groups.log_dir_failed();
    }
}

/// Raises the process's limit of open files as far as it goes, and says how many of them the logs may have. Connections
/// get no more than what is left: those behind wait in the backlog, where otherwise all would meet failing requests.
fn share_descriptors(config: &mut Config) -> usize {
    let limit = sys::raise_open_file_limit().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it was");
        sys::open_file_limit()
    });
    let shares = Descriptors::of(usize::try_from(limit).unwrap_or(usize::MAX), config.logs.open_files_max);
    if shares.connections < config.network.connections_max {
        config.network.connections_max = shares.connections;
        tracing::debug!(limit, ?shares, "open files");
    }
    shares.logs
}

fn bind(config: &Config) -> Result<Vec<Bound>, BrokerError> {
    let bind = |listener: &crate::config::Listener| {
        let address = listener.address;
        Bound::bind(listener.clone(), &config.network).map_err(|source| BrokerError::Bind { address, source })
    };
    config.listeners.iter().map(bind).collect()
}

/// Opens what is on disk, recovering it where the last run did not end cleanly.
async fn open(mut config: Config, open_files_max: usize) -> Result<(watch::Sender<bool>, Arc<Services>), BrokerError> {
    let store_dir = config.log_dirs.first().ok_or(BrokerError::NoLogDir)?.join(METADATA_DIR);
    let has_store = LocalStore::exists(&store_dir);
    if !has_store {
        foreign::check(&config.log_dirs, &Path::new(METADATA_DIR).join(LocalStore::FILE_NAME), config.adopt)?;
    }
    if let Some(node_id) = foreign::node_id(&config.log_dirs) {
        config.take_node_id(node_id);
    }
    let options = ManagerOptions {
        node_id: config.node_id,
        cluster_id: config.cluster_id.as_deref(),
        producer_id_expiration: config.producer_id_expiration,
        open_files_max,
    };
    let manager = LogManager::open(&config.log_dirs, &options)?;
    let cluster_id = manager.cluster_id().to_string();
    let store = match config.adopt && !has_store {
        true => metadata::take_over(&store_dir, &manager, &config)?,
        false => LocalStore::open(&store_dir)?,
    };
    if config.adopt && has_store {
        tracing::info!(store = %store_dir.display(), "--adopt: there is a store already; nothing to take over");
    }
    let metadata = Arc::new(Metadata::load(Box::new(store.in_dir(manager.first_dir())))?);
    let are_all = manager.unopened().is_empty();
    let leftovers = metadata.adopt(manager.found(), are_all, config.groups.clone()).await?;
    finish_deletions(&manager, &metadata, &leftovers)?;
    let was_clean = manager.was_clean();
    let partitions = Arc::new(Registry::new(manager, metadata.clone(), config.broker.clone()));
    let groups = GroupCoordinator::new(config.groups.clone(), metadata.clone(), partitions.clone());
    let (recovered, loaded, recovery_threads) = (partitions.clone(), groups.clone(), config.logs.recovery_threads);
    blocking(move || {
        if !was_clean {
            recovered.recover(recovery_threads);
        }
        loaded.load();
        Ok(())
    })
    .await?;
    let (stopping, stopped) = watch::channel(false);
    let services = Services {
        fetch_sessions: FetchSessions::new(config.fetch_sessions_max),
        producer_ids: ProducerIds::default(),
        cluster_id,
        metadata,
        partitions,
        groups,
        stopping: stopped,
        config,
    };
    Ok((stopping, Arc::new(services)))
}

/// Takes away the folders of topics that were deleted just before the last run ended.
fn finish_deletions(
    manager: &LogManager,
    metadata: &Metadata,
    leftovers: &BTreeMap<TopicPartition, TopicId>,
) -> Result<(), BrokerError> {
    for folder in manager.retire(leftovers.keys().cloned()).map_err(BrokerError::Leftover)? {
        std::fs::remove_dir_all(&folder).map_err(BrokerError::Leftover)?;
        tracing::info!(folder = %folder.display(), "folder of a deleted topic removed");
    }
    if !manager.unopened().is_empty() {
        // Those that are missing may come back with more of them.
        return Ok(());
    }
    let ids: Vec<TopicId> = leftovers.values().copied().collect();
    Ok(metadata.deletions_finished(&ids)?)
}

/// Runs blocking file I/O off the workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, BrokerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// One look at what is running, where, and what to try.
fn banner(config: &Config, addresses: &[SocketAddr], started: Instant) {
    let names = config.listeners.iter().map(|listener| &listener.name);
    let listening: Vec<String> = names.zip(addresses).map(|(name, address)| format!("{name}://{address}")).collect();
    let dirs: Vec<String> = config.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let bootstrap = addresses.first().map(|address| reachable(*address).to_string()).unwrap_or_default();
    tracing::info!(
        "ottla {} listens on {}, data in {}, started in {:.1} ms; try: kcat -b {bootstrap} -L",
        env!("CARGO_PKG_VERSION"),
        listening.join(", "),
        dirs.join(", "),
        started.elapsed().as_secs_f64() * 1e3,
    );
}

/// An address to connect to where `listening` is all of them.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listening.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listening.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    listening
}

/// SIGTERM and SIGINT, as one.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
