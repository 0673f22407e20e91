//! Describing and listing groups (Kafka's `GroupMetadataManager.describeGroups`, `listGroups`).

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest};
use kafka_protocol::protocol::StrBytes;

use super::classic::{ClassicGroup, State};
use super::member::Member;
use super::shard::GroupShard;
use crate::protocol::ErrorCode;

/// First version of DescribeGroups that tells an unknown group from one that is dead (KIP-1043).
const GROUP_ID_NOT_FOUND_SINCE: i16 = 6;
const DEAD: &str = "Dead";
const CLASSIC: &str = "classic";

impl GroupShard {
    pub(super) fn describe(&self, id: &GroupId, version: i16) -> DescribedGroup {
        let described = DescribedGroup::default().with_group_id(id.clone());
        match self.group(id) {
            Some(group) => described
                .with_group_state(group.state.to_string().into())
                .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
                .with_protocol_data(protocol_data(group))
                .with_members(group.members().map(|member| describe_member(group, member)).collect()),
            None if version < GROUP_ID_NOT_FOUND_SINCE => described.with_group_state(DEAD.into()),
            None => described
                .with_group_state(DEAD.into())
                .with_error_code(ErrorCode::GroupIdNotFound.code())
                .with_error_message(Some(format!("Group {} not found.", id.0).into())),
        }
    }

    /// The groups that pass the request's filters, which know no upper and lower case.
    pub(super) fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let passes = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
        };
        if !passes(&request.types_filter, CLASSIC) {
            return Vec::new();
        }
        let groups = self.groups().filter(|group| passes(&request.states_filter, &group.state.to_string()));
        groups
            .map(|group| {
                ListedGroup::default()
                    .with_group_id(GroupId(group.id.clone()))
                    .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
                    .with_group_state(group.state.to_string().into())
                    .with_group_type(CLASSIC.into())
            })
            .collect()
    }
}

/// What was agreed on is only shown of a stable group.
fn protocol_data(group: &ClassicGroup) -> StrBytes {
    group.protocol.clone().filter(|_| group.state == State::Stable).unwrap_or_default()
}

fn describe_member(group: &ClassicGroup, member: &Member) -> DescribedGroupMember {
    let described = member.described();
    if group.state != State::Stable {
        return described;
    }
    described
        .with_member_metadata(member.metadata(group.protocol.as_ref()))
        .with_member_assignment(member.assignment.clone())
}
