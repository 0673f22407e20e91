//! DeleteTopics 1–6.
//!
//! - By name, and from v6 on by id too (KIP-516); naming a topic in two ways is refused in Kafka's words
//!   (`ControllerApis.deleteTopics`). Internal topics may be deleted, as in Kafka.
//! - The deletion is committed first. Then, before any other change of metadata, the partitions are taken out of
//!   service, their folders renamed and the offsets that groups committed forgotten, so that a topic made anew under the
//!   same name starts empty. What is in the folders is removed after the answer. Where the broker dies in between,
//!   `Metadata::adopt` tells at the next start what is left to do.
//! - `delete.topic.enable=false` refuses everything: INVALID_REQUEST before v3, then TOPIC_DELETION_DISABLED (KIP-322).
//! - v5 brings messages with the errors. `timeout_ms`: nothing is waited for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::refusal::{self, Refusal, duplicates};
use crate::api::{Context, Refused, Services};
use crate::metadata::{Change, ChangeError, Edit, Image, Topic};
use crate::protocol::ErrorCode;
use crate::types::TopicId;

const DISABLED_SINCE: i16 = 3;

pub(in crate::api) async fn delete(
    ctx: &Context,
    request: DeleteTopicsRequest,
) -> Result<DeleteTopicsResponse, Refused> {
    let targets = targets(request);
    if !ctx.services.config.topics.delete_enabled {
        return Ok(DeleteTopicsResponse::default().with_responses(disabled(targets, ctx.version)));
    }
    let (responses, folders) = ctx.blocking(move |services| delete_topics(services, targets)).await?;
    if !folders.is_empty() {
        tokio::task::spawn_blocking(move || remove(folders));
    }
    Ok(DeleteTopicsResponse::default().with_responses(responses))
}

/// A topic as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: Option<TopicName>,
    id: Uuid,
}

impl Target {
    fn response(self, outcome: Result<(), Refusal>) -> DeletableTopicResult {
        let (code, message) = refusal::wire(&outcome);
        DeletableTopicResult::default()
            .with_name(self.name)
            .with_topic_id(self.id)
            .with_error_code(code)
            .with_error_message(message)
    }
}

fn targets(request: DeleteTopicsRequest) -> Vec<Target> {
    let by_name = request.topic_names.into_iter().map(|name| Target { name: Some(name), id: Uuid::nil() });
    let by_either = request.topics.into_iter().map(|topic| Target { name: topic.name, id: topic.topic_id });
    by_name.chain(by_either).collect()
}

fn disabled(targets: Vec<Target>, version: i16) -> Vec<DeletableTopicResult> {
    let code = if version < DISABLED_SINCE { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
    let refusal = Refusal::new(code, "Topic deletion is disabled.");
    targets.into_iter().map(|target| target.response(Err(refusal.clone()))).collect()
}

/// Deletes, and gives the folders that are left to be removed.
fn delete_topics(services: &Services, targets: Vec<Target>) -> (Vec<DeletableTopicResult>, Vec<PathBuf>) {
    let mut edit = services.metadata.edit();
    let outcomes = apply_deletions(&mut edit, targets);
    let committed = edit.commit().map(drop).map_err(Refusal::from);
    let mut folders = Vec::new();
    if committed.is_ok() {
        for topic in outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()) {
            folders.extend(retire(services, topic));
            services.groups.topic_deleted(&topic.name);
        }
    }
    drop(edit);
    let respond = |(target, outcome): (Target, Result<Arc<Topic>, Refusal>)| match outcome {
        Ok(topic) => {
            let name = TopicName(StrBytes::from_string(topic.name.to_string()));
            Target { name: Some(name), id: topic.id.0 }.response(committed.clone())
        }
        Err(refusal) => target.response(Err(refusal)),
    };
    (outcomes.into_iter().map(respond).collect(), folders)
}

/// Judges each target once, however often it is named, and applies the deletions that pass.
fn apply_deletions(edit: &mut Edit<'_>, targets: Vec<Target>) -> Vec<(Target, Result<Arc<Topic>, Refusal>)> {
    let named = Named::of(edit.image(), &targets);
    let mut judged = BTreeSet::new();
    let mut outcomes = Vec::new();
    for target in targets.into_iter().filter(|target| judged.insert(target.clone())) {
        let outcome = named.topic(edit.image(), &target);
        let outcome = outcome.and_then(|topic| {
            edit.apply(Change::DeleteTopic { id: topic.id })?;
            Ok(topic)
        });
        outcomes.push((target, outcome));
    }
    outcomes
}

/// How the request as a whole names its topics.
#[derive(Debug)]
struct Named {
    names_twice: BTreeSet<TopicName>,
    ids_twice: BTreeSet<Uuid>,
    /// Topics that are named both by id and by name.
    both_ways: BTreeSet<Uuid>,
}

impl Named {
    fn of(image: &Image, targets: &[Target]) -> Named {
        let names = || targets.iter().filter(|target| target.id.is_nil()).filter_map(|target| target.name.clone());
        let ids = || targets.iter().filter(|target| target.name.is_none()).map(|target| target.id);
        let ids_of_names: BTreeSet<Uuid> = names().filter_map(|name| Some(image.topic(&name)?.id.0)).collect();
        Named {
            names_twice: duplicates(names()),
            ids_twice: duplicates(ids()),
            both_ways: ids().filter(|id| ids_of_names.contains(id)).collect(),
        }
    }

    /// The topic that a target is to delete.
    fn topic(&self, image: &Image, target: &Target) -> Result<Arc<Topic>, Refusal> {
        let invalid = |text: &str| Err(Refusal::new(ErrorCode::InvalidRequest, text));
        let topic = match &target.name {
            None if target.id.is_nil() => return invalid("Neither topic name nor id were specified."),
            None if self.ids_twice.contains(&target.id) => return invalid("Duplicate topic id."),
            None => image.topic_by_id(TopicId(target.id)).ok_or(ChangeError::UnknownTopicId)?,
            Some(_) if !target.id.is_nil() => return invalid("You may not specify both topic name and topic id."),
            Some(name) if self.names_twice.contains(name) => return invalid("Duplicate topic name."),
            Some(name) => image.topic(name).ok_or(ChangeError::UnknownTopic)?,
        };
        if self.both_ways.contains(&topic.id.0) {
            return invalid("The provided topic name maps to an ID that was already supplied.");
        }
        Ok(topic.clone())
    }
}

/// Takes a deleted topic's partitions out of service; gives the folders that are left of it.
fn retire(services: &Services, topic: &Topic) -> Vec<PathBuf> {
    let retired = services.partitions.retire(topic).map_err(|error| error.to_string()).and_then(|folders| {
        // A log dir that is missing may come back with folders of the topic.
        if services.partitions.manager().unopened().is_empty() {
            services.metadata.deletions_finished(&[topic.id]).map_err(|error| error.to_string())?;
        }
        Ok(folders)
    });
    retired.unwrap_or_else(|error| {
        tracing::error!(topic = %topic.name, %error, "deleted topic's folders are left to the next start");
        Vec::new()
    })
}

fn remove(folders: Vec<PathBuf>) {
    for folder in folders {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "deleted partition's folder not removed");
        }
    }
}

#[cfg(test)]
mod tests;
