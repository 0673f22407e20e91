//! One member of a classic group (Kafka's `ClassicGroupMember`).

use std::collections::HashSet;

use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::DescribedGroupMember;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::records::MemberValue;

pub(super) type JoinReply = oneshot::Sender<JoinGroupResponse>;
pub(super) type SyncReply = oneshot::Sender<SyncGroupResponse>;

/// Where a request came from, as far as groups care.
#[derive(Debug, Clone)]
pub struct Caller {
    pub client_id: StrBytes,
    /// As Kafka writes an address without a name: `/127.0.0.1`.
    pub client_host: StrBytes,
    /// Version of the request.
    pub version: i16,
}

/// An assignment strategy that a member offers, with what the leader needs to know for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: StrBytes,
    pub(super) metadata: Bytes,
}

/// Copies, so that a member does not keep its request's frame in memory.
pub(super) fn owned(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

/// The protocols of a request in the member's order of preference; of equal names, the first.
pub(super) fn protocols_of(request: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut seen = HashSet::new();
    let new = request.iter().filter(|protocol| seen.insert(&protocol.name));
    new.map(|protocol| Protocol { name: owned(&protocol.name), metadata: Bytes::copy_from_slice(&protocol.metadata) })
        .collect()
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: StrBytes,
    pub(super) instance_id: Option<StrBytes>,
    pub(super) client_id: StrBytes,
    pub(super) client_host: StrBytes,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// It waits for the answer to its first join and does not know its id: it cannot send heartbeats.
    pub(super) is_new: bool,
    /// Its parked calls. A client that went away leaves a sender without a receiver; its session ends it.
    pub(super) join: Option<JoinReply>,
    pub(super) sync: Option<SyncReply>,
}

impl Member {
    pub(super) fn new(id: StrBytes, caller: &Caller, request: &JoinGroupRequest, protocols: Vec<Protocol>) -> Member {
        Member {
            id,
            instance_id: request.group_instance_id.as_ref().map(owned),
            client_id: owned(&caller.client_id),
            client_host: caller.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            is_new: true,
            join: None,
            sync: None,
        }
    }

    /// A member as it was stored: of its protocols, only the selected one is known.
    pub(super) fn loaded(value: MemberValue, protocol: StrBytes) -> Member {
        Member {
            id: value.member_id,
            instance_id: value.group_instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout_ms,
            protocols: vec![Protocol { name: protocol, metadata: value.subscription }],
            assignment: value.assignment,
            is_new: false,
            join: None,
            sync: None,
        }
    }

    pub(super) fn value(&self, protocol: Option<&StrBytes>) -> MemberValue {
        MemberValue {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn described(&self) -> DescribedGroupMember {
        DescribedGroupMember::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance_id.clone())
            .with_client_id(self.client_id.clone())
            .with_client_host(self.client_host.clone())
    }

    /// Whether the member offers exactly these, in this order.
    pub(super) fn matches(&self, request: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols == protocols_of(request)
    }

    /// What it said for a protocol; empty where it does not offer it.
    pub(super) fn metadata(&self, protocol: Option<&StrBytes>) -> Bytes {
        let offered = self.protocols.iter().find(|offered| Some(&offered.name) == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// The one of the candidates that it likes best.
    pub(super) fn vote(&self, candidates: &HashSet<&StrBytes>) -> Option<&StrBytes> {
        self.protocols.iter().map(|protocol| &protocol.name).find(|name| candidates.contains(name))
    }

    /// Whether its silence is excused: it waits for us. Not so while it waits for its first join, which would keep
    /// members whose client is long gone.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}
