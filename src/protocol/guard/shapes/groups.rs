//! Groups and their offsets.

use crate::protocol::guard::shape::*;

pub(crate) const FIND_COORDINATOR: Shape = Shape::new(0..=6, 3, &[
    string("key").until(3),
    int8("key_type").since(1),
    strings("coordinator_keys").since(4),
]);

pub(crate) const JOIN_GROUP: Shape = Shape::new(0..=9, 6, &[
    string("group_id"),
    int32("session_timeout_ms"),
    int32("rebalance_timeout_ms").since(1),
    string("member_id"),
    string("group_instance_id").since(5).nullable(),
    string("protocol_type"),
    structs("protocols", &[
        string("name"),
        bytes("metadata"),
    ]),
    string("reason").since(8).nullable(),
]);

pub(crate) const SYNC_GROUP: Shape = Shape::new(0..=5, 4, &[
    string("group_id"),
    int32("generation_id"),
    string("member_id"),
    string("group_instance_id").since(3).nullable(),
    string("protocol_type").since(5).nullable(),
    string("protocol_name").since(5).nullable(),
    structs("assignments", &[
        string("member_id"),
        bytes("assignment"),
    ]),
]);

pub(crate) const HEARTBEAT: Shape = Shape::new(0..=4, 4, &[
    string("group_id"),
    int32("generation_id"),
    string("member_id"),
    string("group_instance_id").since(3).nullable(),
]);

pub(crate) const LEAVE_GROUP: Shape = Shape::new(0..=5, 4, &[
    string("group_id"),
    string("member_id").until(2),
    structs("members", &[
        string("member_id"),
        string("group_instance_id").nullable(),
        string("reason").since(5).nullable(),
    ]).since(3),
]);

pub(crate) const OFFSET_COMMIT: Shape = Shape::new(2..=9, 8, &[
    string("group_id"),
    int32("generation_id_or_member_epoch"),
    string("member_id"),
    string("group_instance_id").since(7).nullable(),
    int64("retention_time_ms").until(4),
    structs("topics", &[
        string("name"),
        structs("partitions", &[
            int32("partition_index"),
            int64("committed_offset"),
            int32("committed_leader_epoch").since(6),
            string("committed_metadata").nullable(),
        ]),
    ]),
]);

pub(crate) const OFFSET_FETCH: Shape = Shape::new(1..=9, 6, &[
    string("group_id").until(7),
    structs("topics", &[
        string("name"),
        int32s("partition_indexes"),
    ]).until(7).nullable_since(2),
    structs("groups", &[
        string("group_id"),
        string("member_id").since(9).nullable(),
        int32("member_epoch").since(9),
        structs("topics", &[
            string("name"),
            int32s("partition_indexes"),
        ]).nullable(),
    ]).since(8),
    boolean("require_stable").since(7),
]);

pub(crate) const OFFSET_DELETE: Shape = Shape::new(0..=0, NEVER, &[
    string("group_id"),
    structs("topics", &[
        string("name"),
        structs("partitions", &[
            int32("partition_index"),
        ]),
    ]),
]);

pub(crate) const DESCRIBE_GROUPS: Shape = Shape::new(0..=6, 5, &[
    strings("groups"),
    boolean("include_authorized_operations").since(3),
]);

pub(crate) const LIST_GROUPS: Shape = Shape::new(0..=5, 3, &[
    strings("states_filter").since(4),
    strings("types_filter").since(5),
]);

pub(crate) const DELETE_GROUPS: Shape = Shape::new(0..=2, 2, &[
    strings("groups_names"),
]);

pub(crate) const CONSUMER_GROUP_HEARTBEAT: Shape = Shape::new(0..=1, 0, &[
    string("group_id"),
    string("member_id"),
    int32("member_epoch"),
    string("instance_id").nullable(),
    string("rack_id").nullable(),
    int32("rebalance_timeout_ms"),
    strings("subscribed_topic_names").nullable(),
    string("subscribed_topic_regex").since(1).nullable(),
    string("server_assignor").nullable(),
    structs("topic_partitions", &[
        uuid("topic_id"),
        int32s("partitions"),
    ]).nullable(),
]);

pub(crate) const CONSUMER_GROUP_DESCRIBE: Shape = Shape::new(0..=1, 0, &[
    strings("group_ids"),
    boolean("include_authorized_operations"),
]);
