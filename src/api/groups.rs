//! JoinGroup 0–9, Heartbeat 0–4, LeaveGroup 0–5, SyncGroup 0–5: the classic consumer group protocol.
//!
//! - JoinGroup and SyncGroup are answered when the group is ready: the connection waits.
//! - Versions: JoinGroup 4 makes a new member come again with the id it is given (KIP-394), 5 brings static members
//!   (KIP-345), 7 null protocol names and the protocol type, 8 a reason (KIP-800), 9 lets a leader skip the assignment
//!   (KIP-814). LeaveGroup 3 removes several members at once, also by instance id, and says how each fared.
//! - Members of KIP-848 groups do not come here.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use super::{Context, Refused};
use crate::coordinator::group::Caller;
use crate::protocol::ErrorCode;

/// First version of JoinGroup in which the protocol's name may be null.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// First version of LeaveGroup that names several members.
const LEAVE_SEVERAL_SINCE: i16 = 3;

pub(super) async fn join(ctx: &Context, request: JoinGroupRequest) -> Result<JoinGroupResponse, Refused> {
    let caller = Caller {
        client_id: ctx.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", ctx.client.peer.ip().to_canonical()).into(),
        version: ctx.version,
    };
    let response = ctx.services.groups.join(&caller, request).await;
    Ok(with_protocol_name_for(ctx.version, response))
}

/// Older versions know no null there, newer ones no empty name.
fn with_protocol_name_for(version: i16, mut response: JoinGroupResponse) -> JoinGroupResponse {
    response.protocol_name = match response.protocol_name {
        None if version < NULL_PROTOCOL_SINCE => Some(Default::default()),
        Some(name) if name.is_empty() && version >= NULL_PROTOCOL_SINCE => None,
        name => name,
    };
    response
}

pub(super) async fn sync(ctx: &Context, request: SyncGroupRequest) -> Result<SyncGroupResponse, Refused> {
    Ok(ctx.services.groups.sync(request).await)
}

pub(super) async fn heartbeat(ctx: &Context, request: HeartbeatRequest) -> Result<HeartbeatResponse, Refused> {
    let error_code = ctx.services.groups.heartbeat(&request).err().map_or(0, |error| error.code());
    Ok(HeartbeatResponse::default().with_error_code(error_code))
}

pub(super) async fn leave(ctx: &Context, request: LeaveGroupRequest) -> Result<LeaveGroupResponse, Refused> {
    let left = ctx.services.groups.leave(&normalized(ctx.version, request)).await;
    Ok(leave_response(ctx.version, left))
}

/// Older versions name one member, outside the list.
fn normalized(version: i16, mut request: LeaveGroupRequest) -> LeaveGroupRequest {
    if version < LEAVE_SEVERAL_SINCE {
        request.members = vec![MemberIdentity::default().with_member_id(request.member_id.clone())];
    }
    request
}

/// Older versions have one error for their one member.
fn leave_response(version: i16, left: Result<Vec<MemberResponse>, ErrorCode>) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    match left {
        Err(error) => response.with_error_code(error.code()),
        Ok(members) if version >= LEAVE_SEVERAL_SINCE => response.with_members(members),
        Ok(members) => response.with_error_code(members.first().map_or(0, |member| member.error_code)),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;

    fn encodes(response: &impl Encodable, version: i16) {
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }

    #[test]
    fn a_failed_join_can_be_told_to_clients_of_every_version() {
        for version in 0..=9 {
            let failed = JoinGroupResponse::default().with_error_code(25).with_protocol_name(None);
            encodes(&with_protocol_name_for(version, failed), version);
        }
    }

    #[test]
    fn an_empty_protocol_name_is_null_where_null_can_be_said() {
        let empty = || JoinGroupResponse::default().with_protocol_name(Some(StrBytes::new()));
        assert_eq!(with_protocol_name_for(6, empty()).protocol_name, Some(StrBytes::new()));
        assert_eq!(with_protocol_name_for(7, empty()).protocol_name, None);
        let named = empty().with_protocol_name(Some("range".into()));
        assert_eq!(with_protocol_name_for(9, named).protocol_name, Some("range".into()));
    }

    #[test]
    fn a_leave_of_an_old_version_is_of_one_member_and_answered_with_its_error() {
        let request = normalized(2, LeaveGroupRequest::default().with_member_id("m".into()));
        assert_eq!(request.members.len(), 1);
        assert_eq!(request.members[0].member_id.as_str(), "m");
        for version in 0..=5 {
            let member = MemberResponse::default().with_member_id("m".into()).with_error_code(25);
            let response = leave_response(version, Ok(vec![member]));
            encodes(&response, version);
            let (error_code, members) = if version < 3 { (25, 0) } else { (0, 1) };
            assert_eq!((response.error_code, response.members.len()), (error_code, members));
        }
    }
}
