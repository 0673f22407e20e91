//! A change in the making.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::change::{self, Change, ChangeError};
use super::{Image, Shared};
use crate::config;

/// A draft of the next image. Changes are applied to it one by one; a refused one leaves it as it was. Nothing is
/// durable or visible before [`Edit::commit`], and until the edit is dropped no other change is made: what has to
/// follow a commit in order (taking a deleted topic's folders away, say) is done before that.
#[derive(Debug)]
pub struct Edit<'a> {
    shared: &'a Shared,
    draft: Image,
    changes: Vec<Change>,
    _committing: MutexGuard<'a, ()>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(shared: &'a Shared) -> Edit<'a> {
        let _committing = shared.committing.lock();
        let draft = shared.image.read().as_ref().clone();
        Edit { shared, draft, changes: Vec::new(), _committing }
    }

    /// The image with what was applied so far.
    pub fn image(&self) -> &Image {
        &self.draft
    }

    /// Applies one change to the draft, by Kafka's rules.
    pub fn apply(&mut self, change: Change) -> Result<(), ChangeError> {
        change::apply(&mut self.draft, &change)?;
        self.changes.push(change);
        Ok(())
    }

    /// Makes everything applied durable, then visible. Where it fails nothing has changed, and the edit is to be
    /// dropped. Writes nothing where nothing was applied.
    pub fn commit(&mut self) -> Result<Arc<Image>, ChangeError> {
        if self.changes.is_empty() {
            return Ok(self.shared.image.read().clone());
        }
        self.draft.version += 1;
        self.shared.store.commit(&self.changes, &self.draft)?;
        for change in self.changes.drain(..) {
            tell_what_does_not_act(&self.draft, &change);
        }
        let image = Arc::new(self.draft.clone());
        *self.shared.image.write() = image.clone();
        Ok(image)
    }
}

/// Keys that are kept and described but do not act: whoever sets one should hear of it.
pub(super) fn tell_what_does_not_act(image: &Image, change: &Change) {
    let (topic, configs) = match change {
        Change::CreateTopic { id, configs, .. } | Change::SetTopicConfigs { id, configs } => {
            (image.topic_by_id(*id), configs)
        }
        Change::DeleteTopic { .. } | Change::SetPartitions { .. } | Change::SetLeaderEpoch { .. } => return,
    };
    let Some(topic) = topic.filter(|topic| !topic.is_internal()) else { return };
    let without_effect = config::without_effect(configs);
    if !without_effect.is_empty() {
        let keys = without_effect.join(", ");
        tracing::warn!(topic = %topic.name, "topic configs known to Kafka, without effect here: {keys}");
    }
}
