//! FindCoordinator 0–6: which broker coordinates a group or a transaction. Here that is this one.
//!
//! - The first question for a group makes `__consumer_offsets`. Unlike Kafka, which answers COORDINATOR_NOT_AVAILABLE until
//!   the topic is there, the answer waits for it: creating it is one local commit.
//! - A group whose log is in a failed log dir has no coordinator until a restart: COORDINATOR_NOT_AVAILABLE.
//! - Transactions: this broker, too. Producers without a transactional id never ask, and those with one hear from
//!   InitProducerId what is wrong instead of looking for a coordinator without end.
//! - Share groups have no coordinator: INVALID_REQUEST, as from a Kafka broker without one.
//! - Versions: 1 names the type of key, 4 asks for several keys (KIP-699), 6 knows share groups (KIP-932).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Refused};
use crate::protocol::ErrorCode;

/// First version that asks for several keys.
const SEVERAL_KEYS_SINCE: i16 = 4;
/// `FindCoordinatorRequest.CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    id: i32,
    host: StrBytes,
    port: i32,
}

impl Node {
    /// Kafka's `Node.noNode()`.
    const NONE: Node = Node { id: -1, host: StrBytes::new(), port: -1 };
}

pub(super) async fn find(ctx: &Context, request: FindCoordinatorRequest) -> Result<FindCoordinatorResponse, Refused> {
    let found = match request.key_type {
        GROUP => ctx.services.groups.create_topic().await.map_err(|error| {
            tracing::error!(%error, "the topic of consumer offsets could not be created");
            ErrorCode::CoordinatorNotAvailable
        }),
        TRANSACTION => Ok(()),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let (host, port) = ctx.advertised();
    let this = Node { id: ctx.services.config.node_id.0, host: host.into(), port: port.into() };
    let is_offline = |key: &str| request.key_type == GROUP && ctx.services.groups.is_offline(key);
    let find = |key: &StrBytes| match found {
        Ok(()) if is_offline(key) => Err(ErrorCode::CoordinatorNotAvailable),
        found => found.map(|()| this.clone()),
    };
    if ctx.version < SEVERAL_KEYS_SINCE {
        return Ok(single_response(find(&request.key)));
    }
    let coordinators = request.coordinator_keys.iter().map(|key| coordinator(key, find(key)));
    Ok(FindCoordinatorResponse::default().with_coordinators(coordinators.collect()))
}

fn single_response(found: Result<Node, ErrorCode>) -> FindCoordinatorResponse {
    let error_code = found.as_ref().err().map_or(0, ErrorCode::code);
    // Where there is no error, Kafka's text is that of `Errors.NONE`.
    let message = found.as_ref().err().map_or_else(|| "NONE".to_owned(), ToString::to_string);
    let node = found.unwrap_or(Node::NONE);
    FindCoordinatorResponse::default()
        .with_error_code(error_code)
        .with_error_message(Some(message.into()))
        .with_node_id(BrokerId(node.id))
        .with_host(node.host)
        .with_port(node.port)
}

fn coordinator(key: &StrBytes, found: Result<Node, ErrorCode>) -> Coordinator {
    let error_code = found.as_ref().err().map_or(0, ErrorCode::code);
    let node = found.unwrap_or(Node::NONE);
    Coordinator::default()
        .with_key(key.clone())
        .with_error_code(error_code)
        .with_node_id(BrokerId(node.id))
        .with_host(node.host)
        .with_port(node.port)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn this() -> Node {
        Node { id: 1, host: "localhost".into(), port: 9092 }
    }

    #[test]
    fn older_versions_get_one_node_and_newer_ones_one_for_each_key() {
        for version in 0..=6 {
            let found = match version {
                0..SEVERAL_KEYS_SINCE => single_response(Ok(this())),
                _ => FindCoordinatorResponse::default().with_coordinators(vec![coordinator(&"a".into(), Ok(this()))]),
            };
            found.encode(&mut bytes::BytesMut::new(), version).unwrap();
            let (id, port) =
                found.coordinators.first().map_or((found.node_id, found.port), |found| (found.node_id, found.port));
            assert_eq!((id.0, port), (1, 9092));
        }
    }

    #[test]
    fn an_error_names_no_node() {
        let failed = coordinator(&"a".into(), Err(ErrorCode::InvalidRequest));
        assert_eq!((failed.error_code, failed.node_id.0, failed.port), (42, -1, -1));
        let failed = single_response(Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!((failed.error_code, failed.node_id.0, failed.host.as_str()), (15, -1, ""));
    }
}
