//! Topics and their configuration: an immutable image, replaced as a whole by each committed change.
//!
//! Kafka's rules about changes live in [`change`]; a [`Store`] only makes them durable, in order.

mod adopt;
pub mod change;
mod edit;
mod image;
pub mod kafka;
pub mod store;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::log::names::SHARE_GROUP_STATE_TOPIC as SHARE_GROUP_STATE;
pub use crate::log::names::{CONSUMER_OFFSETS_TOPIC as CONSUMER_OFFSETS, TRANSACTION_STATE_TOPIC as TRANSACTION_STATE};
pub use adopt::take_over;
pub use change::{Change, ChangeError};
pub use edit::Edit;
pub use image::{Image, Topic};
pub use store::{LocalStore, Store};

/// `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`.
const PRODUCER_ID_BLOCK_SIZE: i64 = 1000;

/// The metadata of this broker: the image in force, and the store behind it.
#[derive(Debug)]
pub struct Metadata {
    shared: Arc<Shared>,
}

/// What a commit needs on the blocking pool, where it runs to its end even if its request is given up.
#[derive(Debug)]
struct Shared {
    store: Box<dyn Store>,
    image: RwLock<Arc<Image>>,
    /// Held while the store is written to, and from reading the image to replacing it: one change after the other.
    committing: Mutex<()>,
}

impl Metadata {
    /// Loads the image from the store. Blocking.
    pub fn load(store: Box<dyn Store>) -> Result<Metadata, store::StoreError> {
        let image = RwLock::new(Arc::new(store.load()?));
        Ok(Metadata { shared: Arc::new(Shared { store, image, committing: Mutex::default() }) })
    }

    /// The image in force; cheap, and unchanged while it is held.
    pub fn image(&self) -> Arc<Image> {
        self.shared.image.read().clone()
    }

    /// Starts a change that depends on the image: no other change comes in between while the [`Edit`] lives. Blocking.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.shared)
    }

    /// Validates the changes against the image, makes them durable, then puts the new image in force. All or nothing;
    /// commits are one after the other.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<Arc<Image>, ChangeError> {
        self.blocking(move |shared| {
            let mut edit = Edit::new(shared);
            for change in changes {
                edit.apply(change)?;
            }
            edit.commit()
        })
        .await
    }

    /// A block of producer ids that no broker will hand out again (`AllocateProducerIds`).
    pub async fn allocate_producer_ids(&self) -> Result<Range<i64>, ChangeError> {
        self.blocking(|shared| {
            let _committing = shared.committing.lock();
            let first = shared.store.allocate_producer_ids(PRODUCER_ID_BLOCK_SIZE)?;
            Ok(first..first.saturating_add(PRODUCER_ID_BLOCK_SIZE))
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(failed) => Err(ChangeError::Store(failed.to_string())),
        }
    }
}
