//! DescribeGroups 0–6, ListGroups 0–5, DeleteGroups 0–2.
//!
//! - A group that is not known is described as Dead; from version 6 on with GROUP_ID_NOT_FOUND (KIP-1043).
//! - Only an empty group can be deleted; its offsets go with it.
//! - A group that is named several times is answered once, as Kafka does in DeleteGroups.
//! - Versions: DescribeGroups 3 can ask for the operations that the client may do (KIP-430), 4 names instances; ListGroups
//!   4 filters by state (KIP-518), 5 by type (KIP-848), of which there is `classic`.

use std::collections::BTreeSet;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};

use super::{Context, Refused};

/// Read, Delete, Describe, DescribeConfigs and AlterConfigs, by the codes of `AclOperation`: everything that
/// `AclEntry.supportedOperations` has for a group, which without an authorizer is what everybody may do.
const ALL_GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) async fn describe(ctx: &Context, request: DescribeGroupsRequest) -> Result<DescribeGroupsResponse, Refused> {
    let operations = request.include_authorized_operations;
    let groups = each_once(&request.groups, |group| group).map(|group| {
        let described = ctx.services.groups.describe(group, ctx.version);
        if operations { with_operations(described) } else { described }
    });
    Ok(DescribeGroupsResponse::default().with_groups(groups.collect()))
}

/// Of a group that could not be described, nothing is said.
fn with_operations(group: DescribedGroup) -> DescribedGroup {
    if group.error_code == 0 { group.with_authorized_operations(ALL_GROUP_OPERATIONS) } else { group }
}

pub(super) async fn list(ctx: &Context, request: ListGroupsRequest) -> Result<ListGroupsResponse, Refused> {
    Ok(ctx.services.groups.list(&request))
}

pub(super) async fn delete(ctx: &Context, request: DeleteGroupsRequest) -> Result<DeleteGroupsResponse, Refused> {
    let coordinator = &ctx.services.groups;
    let groups = each_once(&request.groups_names, |group| group);
    // All first: they share the waits for the disk.
    let deleted: Vec<_> = groups.map(|group| (group, coordinator.delete(group))).collect();
    let mut results = Vec::with_capacity(deleted.len());
    for (group, deleted) in deleted {
        let deleted = match deleted {
            Ok(()) => coordinator.committed(group).await,
            refused => refused,
        };
        let error_code = deleted.err().map_or(0, |error| error.code());
        results.push(DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(error_code));
    }
    Ok(DeleteGroupsResponse::default().with_results(results))
}

/// The items without those whose group was named before: a request of some MiB must not be answered with all that is
/// known of a group a million times over, and a group is not there to be deleted twice.
pub(super) fn each_once<'a, T>(items: &'a [T], group: impl Fn(&'a T) -> &'a GroupId) -> impl Iterator<Item = &'a T> {
    let mut seen = BTreeSet::new();
    items.iter().filter(move |item| seen.insert(group(item)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn a_group_that_is_named_twice_is_answered_once() {
        let named = ["b", "a", "b"].map(|name| GroupId(name.into()));
        let once: Vec<&str> = each_once(&named, |group| group).map(|group| group.as_str()).collect();
        assert_eq!(once, ["b", "a"]);
    }

    #[test]
    fn operations_are_kafkas_bit_field_and_left_out_of_errors() {
        assert_eq!(with_operations(DescribedGroup::default()).authorized_operations, 3400);
        let failed = DescribedGroup::default().with_error_code(ErrorCode::NotCoordinator.code());
        assert_eq!(with_operations(failed).authorized_operations, i32::MIN);
    }
}
