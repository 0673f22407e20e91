//! A request's frame as the dispatcher takes it: header, guard, decoder. What the guard lets through the decoder reads or
//! refuses: it neither panics nor takes memory without limit (which the fuzzer's own limits see).

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, VersionRange};
use ottla::protocol::{frame, guard};

/// What the fuzzer needs to know of a request's type.
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) versions: VersionRange,
    decode: fn(Bytes, i16),
    pub(crate) encode_default: fn(i16) -> Vec<u8>,
}

const fn api<R: Request + Default>() -> Api {
    fn decode<R: Decodable>(mut body: Bytes, version: i16) {
        let _ = R::decode(&mut body, version);
    }
    fn encode_default<R: Encodable + Default>(version: i16) -> Vec<u8> {
        let mut body = Vec::new();
        R::default().encode(&mut body, version).expect("a default request is one of every version");
        body
    }
    Api { key: R::KEY, versions: R::VERSIONS, decode: decode::<R>, encode_default: encode_default::<R> }
}

macro_rules! apis {
    ($($request:ident)*) => { &[$(api::<$request>()),*] };
}

/// Those that the guard has shapes for.
pub(crate) const APIS: &[Api] = apis! {
    ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
    FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
    DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
    DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
    AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest TxnOffsetCommitRequest
    DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest AlterConfigsRequest
    AlterReplicaLogDirsRequest DescribeLogDirsRequest SaslAuthenticateRequest CreatePartitionsRequest
    DeleteGroupsRequest ElectLeadersRequest IncrementalAlterConfigsRequest OffsetDeleteRequest
    DescribeClusterRequest DescribeProducersRequest DescribeTransactionsRequest ListTransactionsRequest
    ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest DescribeTopicPartitionsRequest
};

/// A frame without its length prefix.
pub fn run(input: &[u8]) {
    let Ok(head) = frame::parse(Bytes::copy_from_slice(input)) else { return };
    let Ok(key) = ApiKey::try_from(head.api_key) else { return };
    if guard::check(key, head.api_version, &head.body).is_ok() {
        let api = APIS.iter().find(|api| api.key == head.api_key).expect("the guard has a shape that is not fuzzed");
        (api.decode)(head.body, head.api_version);
    }
}
