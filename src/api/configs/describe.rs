//! DescribeConfigs 1–4: topics, and this broker.
//!
//! - Every key with its value in force, where it comes from, and on request what that hides (`ConfigHelper`). A list of
//!   keys narrows the answer; an empty or absent one does not.
//! - A broker is named by its node id. The empty name means the defaults set for all brokers at run time; there are
//!   none, so that answer is empty. So is that for a group or a client metrics subscription, which have no
//!   configuration of their own here. Log levels (BROKER_LOGGER) are not served.
//! - A resource named more than once is answered once, as its first mention asks: the answer for a broker is long, and
//!   a short request must not multiply it.
//! - v3 brings the type of each value (KIP-569). Documentation, asked for from v3 on, is left null.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::{kind_id, source_id};
use crate::api::refusal::{self, Refusal};
use crate::api::{Context, Refused};
use crate::config::{Config, Described, Source};
use crate::log::names::validate_topic_name;
use crate::metadata::{ChangeError, Image};
use crate::protocol::ErrorCode;
use crate::types::NodeId;

pub(in crate::api) async fn describe(
    ctx: &Context,
    request: DescribeConfigsRequest,
) -> Result<DescribeConfigsResponse, Refused> {
    let image = ctx.services.metadata.image();
    Ok(describe_all(&image, &ctx.services.config, request))
}

fn describe_all(image: &Image, config: &Config, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let unexpected = request.resources.iter().find_map(unexpected_type);
    let result = |resource: DescribeConfigsResource| {
        // A type that does not exist spoils the whole request, as in Kafka.
        let configs = unexpected.clone().map_or_else(|| entries(image, config, &resource), Err);
        let (code, message) = refusal::wire(&configs);
        let keys = resource.configuration_keys.unwrap_or_default();
        let wanted = |entry: &Described| keys.is_empty() || keys.iter().any(|key| *key == *entry.name);
        let configs = configs.into_iter().flatten().filter(wanted).map(|entry| wire(entry, synonyms));
        DescribeConfigsResult::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_configs(configs.collect())
    };
    let mut answered = BTreeSet::new();
    let once =
        |resource: &DescribeConfigsResource| answered.insert((resource.resource_type, resource.resource_name.clone()));
    DescribeConfigsResponse::default().with_results(request.resources.into_iter().filter(once).map(result).collect())
}

fn unexpected_type(resource: &DescribeConfigsResource) -> Option<Refusal> {
    if [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP].contains(&resource.resource_type) {
        return None;
    }
    let text = format!("Unexpected resource type UNKNOWN for resource {}", resource.resource_name.as_str());
    Some(invalid(text))
}

fn entries(image: &Image, config: &Config, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            validate_topic_name(name)?;
            let topic = image.topic(name).ok_or(ChangeError::UnknownTopic)?;
            Ok(config.broker.describe_topic(&topic.configs))
        }
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => {
            check_broker(name, config.node_id)?;
            Ok(config.broker.describe_broker())
        }
        BROKER_LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty")),
        BROKER_LOGGER => Err(invalid("Log levels are not served as configuration.")),
        CLIENT_METRICS if name.is_empty() => Err(invalid("Client metrics subscription name must not be empty")),
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty")),
        _ => Ok(Vec::new()),
    }
}

fn check_broker(name: &str, node: NodeId) -> Result<(), Refusal> {
    let Ok(id) = name.parse::<i32>() else {
        return Err(invalid(format!("Broker id must be an integer, but it is: {name}")));
    };
    if id != node.0 {
        let text = format!("Unexpected broker id, expected {} or empty string, but received {name}", node.0);
        return Err(invalid(text));
    }
    Ok(())
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}

fn wire(entry: Described, with_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): (String, Option<String>, Source)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(name))
            .with_value(value.map(StrBytes::from_string))
            .with_source(source_id(source))
    };
    let synonyms = if with_synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(source_id(entry.source))
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(synonyms.into_iter().map(synonym).collect())
        .with_config_type(kind_id(entry.kind))
        .with_documentation(None)
}

#[cfg(test)]
mod tests;
