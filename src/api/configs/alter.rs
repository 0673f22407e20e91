//! AlterConfigs 0–2 and IncrementalAlterConfigs 0–1, for topics (KIP-133, KIP-339).
//!
//! - IncrementalAlterConfigs changes the topic's own values by SET, DELETE (back to the broker's default), APPEND and
//!   SUBTRACT (keys that hold lists). What is appended to or subtracted from is the value in force.
//! - AlterConfigs replaces the topic's own values: what it does not name goes back to the broker's default.
//! - Each resource is altered as a whole or not at all; those that pass are committed together and then put in force
//!   in the open partitions. With `validate_only` none is.
//! - Judged in Kafka's order and words (`ConfigAdminManager.preprocess`, `ConfigurationControlManager`): a resource
//!   named twice, a key given twice, a null value, an unknown key, a value out of range, an unknown topic.
//! - The versions differ in encoding only. Not served: brokers, log levels, groups and client metrics, whose
//!   configuration cannot be changed at run time. They are answered INVALID_REQUEST, and the message says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_request, alter_configs_response,
};

use super::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::api::refusal::{self, Refusal, duplicates};
use crate::api::{Context, Refused, Services};
use crate::config::{self, BrokerValues};
use crate::log::names::validate_topic_name;
use crate::metadata::{Change, Edit, Topic, change};
use crate::protocol::ErrorCode;

/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The values that the operations start from.
#[derive(Debug, Clone, Copy)]
enum Base {
    OwnValues,
    NoValues,
}

/// AlterConfigs is an IncrementalAlterConfigs that only sets, on a topic without values.
pub(in crate::api) async fn alter(
    ctx: &Context,
    request: AlterConfigsRequest,
) -> Result<AlterConfigsResponse, Refused> {
    let all_set = IncrementalAlterConfigsRequest::default()
        .with_resources(request.resources.into_iter().map(all_set).collect())
        .with_validate_only(request.validate_only);
    let responses = ctx.blocking(move |services| alter_and_reconfigure(services, Base::NoValues, all_set)).await?;
    let respond = |response: AlterConfigsResourceResponse| {
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(response.resource_type)
            .with_resource_name(response.resource_name)
            .with_error_code(response.error_code)
            .with_error_message(response.error_message)
    };
    Ok(AlterConfigsResponse::default().with_responses(responses.into_iter().map(respond).collect()))
}

fn all_set(resource: alter_configs_request::AlterConfigsResource) -> AlterConfigsResource {
    let set = |config: alter_configs_request::AlterableConfig| {
        AlterableConfig::default().with_name(config.name).with_config_operation(SET).with_value(config.value)
    };
    AlterConfigsResource::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name)
        .with_configs(resource.configs.into_iter().map(set).collect())
}

pub(in crate::api) async fn incremental_alter(
    ctx: &Context,
    request: IncrementalAlterConfigsRequest,
) -> Result<IncrementalAlterConfigsResponse, Refused> {
    let responses = ctx.blocking(move |services| alter_and_reconfigure(services, Base::OwnValues, request)).await?;
    Ok(IncrementalAlterConfigsResponse::default().with_responses(responses))
}

fn alter_and_reconfigure(
    services: &Services,
    base: Base,
    request: IncrementalAlterConfigsRequest,
) -> Vec<AlterConfigsResourceResponse> {
    let mut edit = services.metadata.edit();
    let outcomes = alter_all(&mut edit, &services.config.broker, base, &request.resources);
    let committed = if request.validate_only { Ok(None) } else { edit.commit().map(Some).map_err(Refusal::from) };
    if let Ok(Some(image)) = &committed {
        // Before the edit is dropped: partitions must not get two alterations in another order than the image did.
        let altered = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
        for topic in altered.filter_map(|topic| image.topic_by_id(topic.id)) {
            services.partitions.reconfigure(topic);
        }
    }
    drop(edit);
    let committed = committed.map(drop);
    let respond = |(resource, outcome): (AlterConfigsResource, Result<Arc<Topic>, Refusal>)| {
        let (code, message) = refusal::wire(&outcome.map(drop).and(committed.clone()));
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(code)
            .with_error_message(message)
    };
    request.resources.into_iter().zip(outcomes).map(respond).collect()
}

/// The outcome for each resource; those that pass are applied to the edit.
fn alter_all(
    edit: &mut Edit<'_>,
    broker: &BrokerValues,
    base: Base,
    resources: &[AlterConfigsResource],
) -> Vec<Result<Arc<Topic>, Refusal>> {
    let key = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let twice = duplicates(resources.iter().map(key));
    let mut outcomes = Vec::new();
    for resource in resources {
        outcomes.push(if twice.contains(&key(resource)) {
            Err(invalid("Each resource must appear at most once."))
        } else {
            check_shape(resource).and_then(|()| alter_topic(edit, broker, base, resource))
        });
    }
    outcomes
}

/// What can be said of a resource without knowing the topic.
fn check_shape(resource: &AlterConfigsResource) -> Result<(), Refusal> {
    if !duplicates(resource.configs.iter().map(|config| config.name.clone())).is_empty() {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let without_value: Vec<&str> = resource
        .configs
        .iter()
        .filter(|config| config.config_operation != DELETE && config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !without_value.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", without_value.join(", "))));
    }
    match resource.resource_type {
        TOPIC if resource.resource_name.is_empty() => Err(invalid("Default topic resources are not allowed.")),
        TOPIC => Ok(validate_topic_name(&resource.resource_name)?),
        BROKER | BROKER_LOGGER | CLIENT_METRICS | GROUP => {
            let text = "Only the configuration of topics can be altered at run time; brokers are configured at start.";
            Err(invalid(text))
        }
        unknown => Err(invalid(format!("Unknown resource type {unknown}"))),
    }
}

fn alter_topic(
    edit: &mut Edit<'_>,
    broker: &BrokerValues,
    base: Base,
    resource: &AlterConfigsResource,
) -> Result<Arc<Topic>, Refusal> {
    let name = resource.resource_name.as_str();
    let topic = edit.image().topic(name).cloned();
    let own = topic.as_ref().map(|topic| topic.configs.clone()).unwrap_or_default();
    let base = match base {
        Base::OwnValues => own.clone(),
        Base::NoValues => BTreeMap::new(),
    };
    // Kafka looks at the values first, then at whether there is such a topic.
    let configs = altered(broker, base, &resource.configs)?;
    let unknown = || Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."));
    let topic = topic.ok_or_else(unknown)?;
    if configs != own {
        edit.apply(Change::SetTopicConfigs { id: topic.id, configs })?;
    }
    Ok(topic)
}

/// What the operations make of a topic's values.
fn altered(
    broker: &BrokerValues,
    base: BTreeMap<String, String>,
    operations: &[AlterableConfig],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut configs = base.clone();
    for operation in operations {
        let key = operation.name.to_string();
        let value = operation.value.as_ref().map(ToString::to_string).unwrap_or_default();
        match operation.config_operation {
            SET => configs.insert(key, value),
            DELETE => configs.remove(&key),
            APPEND => configs.insert(key.clone(), appended(list_in_force(broker, &base, &key, "APPEND")?, &value)),
            SUBTRACT => {
                configs.insert(key.clone(), subtracted(list_in_force(broker, &base, &key, "SUBTRACT")?, &value))
            }
            unknown => return Err(invalid(format!("Unknown operations type {unknown}"))),
        };
    }
    change::check_configs(&configs)?;
    config::check_topic(broker, &configs)?;
    Ok(configs)
}

fn list_in_force(
    broker: &BrokerValues,
    own: &BTreeMap<String, String>,
    key: &str,
    operation: &str,
) -> Result<Vec<String>, Refusal> {
    if !config::is_topic_list(key) {
        let text = format!("Can't {operation} to key {key} because its type is not LIST.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    let described = broker.describe_topic(own).into_iter().find(|described| described.name == key);
    let value = described.and_then(|described| described.value).unwrap_or_default();
    Ok(value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

fn appended(mut list: Vec<String>, value: &str) -> String {
    for part in value.split(',') {
        if !list.iter().any(|known| known == part) {
            list.push(part.to_owned());
        }
    }
    list.join(",")
}

fn subtracted(mut list: Vec<String>, value: &str) -> String {
    list.retain(|known| !value.split(',').any(|part| part == known));
    list.join(",")
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}

#[cfg(test)]
mod tests;
