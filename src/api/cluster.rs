//! DescribeCluster 0–2 (KIP-700): this broker is the cluster, and its own controller.
//!
//! - v1 brings the endpoint type (KIP-919): controllers have no endpoint here. v2 brings fenced brokers: there are none.
//! - Authorized operations, where asked for, are all of them: there is no authorizer yet.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Refused};
use crate::protocol::ErrorCode;

/// `AclEntry.supportedOperations` as bits, each at its `AclOperation.code`.
pub(super) mod authorized_operations {
    /// Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite.
    pub(in crate::api) const CLUSTER: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
    /// Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs.
    pub(in crate::api) const TOPIC: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
    pub(in crate::api) const NOT_ASKED_FOR: i32 = i32::MIN;
}

/// `EndpointType`.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn describe(
    ctx: &Context,
    request: DescribeClusterRequest,
) -> Result<DescribeClusterResponse, Refused> {
    if let Some(refused) = refuse_endpoint(request.endpoint_type) {
        return Ok(refused);
    }
    let (host, port) = ctx.advertised();
    let node = BrokerId(ctx.services.config.node_id.0);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(node)
        .with_host(StrBytes::from_string(host))
        .with_port(port.into())
        .with_rack(None);
    let operations = match request.include_cluster_authorized_operations {
        true => authorized_operations::CLUSTER,
        false => authorized_operations::NOT_ASKED_FOR,
    };
    Ok(DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(ctx.services.cluster_id.clone()))
        .with_controller_id(node)
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(operations))
}

/// `AuthHelper.computeDescribeClusterResponse`. Before v1 there is no endpoint type, and it reads as `BROKERS`.
fn refuse_endpoint(endpoint_type: i8) -> Option<DescribeClusterResponse> {
    let (code, text) = match endpoint_type {
        BROKERS => return None,
        CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                .to_owned(),
        ),
        unknown => (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {unknown}")),
    };
    let text = Some(StrBytes::from_string(text));
    Some(DescribeClusterResponse::default().with_error_code(code.code()).with_error_message(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_the_numbers_that_kafka_answers_without_an_authorizer() {
        assert_eq!(authorized_operations::CLUSTER, 8096);
        assert_eq!(authorized_operations::TOPIC, 3576);
    }

    #[test]
    fn only_brokers_have_an_endpoint_here() {
        assert_eq!(refuse_endpoint(BROKERS), None);
        let code = |endpoint_type| refuse_endpoint(endpoint_type).unwrap().error_code;
        assert_eq!(code(CONTROLLERS), ErrorCode::MismatchedEndpointType.code());
        assert_eq!(code(0), ErrorCode::UnsupportedEndpointType.code());
    }
}
