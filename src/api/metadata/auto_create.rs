//! Topics that are made because somebody asks for them (`AutoTopicCreationManager`).

use std::collections::BTreeMap;

use crate::api::refusal::Refusal;
use crate::api::topics::{PARTITIONS_PER_REQUEST_MAX, check_replication_factor};
use crate::config::Config;
use crate::metadata::{CONSUMER_OFFSETS, Change, Edit, Metadata, TRANSACTION_STATE};
use crate::protocol::ErrorCode;
use crate::types::TopicId;

/// The topics that were not made, and why.
pub(super) type Refusals = BTreeMap<String, ErrorCode>;

/// Makes what can be made of `names`. Blocking.
pub(super) fn create(metadata: &Metadata, config: &Config, names: Vec<String>) -> Refusals {
    let mut edit = metadata.edit();
    let partitions_before = edit.image().partitions();
    let mut refusals = Refusals::new();
    let mut created = Vec::new();
    for name in names {
        let asked_for = edit.image().partitions() - partitions_before;
        let outcome = match asked_for < PARTITIONS_PER_REQUEST_MAX {
            true => create_topic(&mut edit, config, &name),
            // The next request goes on from here.
            false => Err(Refusal::bare(ErrorCode::UnknownTopicOrPartition)),
        };
        match outcome {
            Ok(()) => created.push(name),
            Err(refusal) => drop(refusals.insert(name, refusal.code)),
        }
    }
    match edit.commit() {
        Ok(_) => tracing::debug!(?created, "topics made because they were asked for"),
        Err(error) => refusals.extend(created.into_iter().map(|name| (name, error.error_code()))),
    }
    refusals
}

fn create_topic(edit: &mut Edit<'_>, config: &Config, name: &str) -> Result<(), Refusal> {
    if edit.image().topic(name).is_some() {
        // Somebody else was quicker.
        return Ok(());
    }
    let change = match name {
        CONSUMER_OFFSETS => Change::create_consumer_offsets(&config.groups),
        TRANSACTION_STATE => return Err(Refusal::bare(ErrorCode::UnknownTopicOrPartition)),
        _ => {
            check_replication_factor(config.topics.replication_factor)?;
            let (id, partitions) = (TopicId::random(), config.topics.partitions);
            Change::CreateTopic { name: name.into(), id, partitions, configs: BTreeMap::new() }
        }
    };
    Ok(edit.apply(change)?)
}
