//! Records: produced, fetched, looked up and deleted.

use crate::protocol::guard::shape::*;

pub(crate) const PRODUCE: Shape = Shape::new(3..=13, 9, &[
    string("transactional_id").nullable(),
    int16("acks"),
    int32("timeout_ms"),
    structs("topic_data", &[
        string("name").until(12),
        uuid("topic_id").since(13),
        structs("partition_data", &[
            int32("index"),
            bytes("records").nullable(),
        ]),
    ]),
]);

pub(crate) const FETCH: Shape = Shape::new(4..=18, 12, &[
    int32("replica_id").until(14),
    int32("max_wait_ms"),
    int32("min_bytes"),
    int32("max_bytes"),
    int8("isolation_level"),
    int32("session_id").since(7),
    int32("session_epoch").since(7),
    structs("topics", &[
        string("topic").until(12),
        uuid("topic_id").since(13),
        structs("partitions", &[
            int32("partition"),
            int32("current_leader_epoch").since(9),
            int64("fetch_offset"),
            int32("last_fetched_epoch").since(12),
            int64("log_start_offset").since(5),
            int32("partition_max_bytes"),
            uuid("replica_directory_id").since(17).tag(0),
            int64("high_watermark").since(18).tag(1),
        ]),
    ]),
    structs("forgotten_topics_data", &[
        string("topic").until(12),
        uuid("topic_id").since(13),
        int32s("partitions"),
    ]).since(7),
    string("rack_id").since(11),
    string("cluster_id").nullable().tag(0),
    structure("replica_state", &[
        int32("replica_id"),
        int64("replica_epoch"),
    ]).since(15).tag(1),
]);

pub(crate) const LIST_OFFSETS: Shape = Shape::new(1..=10, 6, &[
    int32("replica_id"),
    int8("isolation_level").since(2),
    structs("topics", &[
        string("name"),
        structs("partitions", &[
            int32("partition_index"),
            int32("current_leader_epoch").since(4),
            int64("timestamp"),
        ]),
    ]),
    int32("timeout_ms").since(10),
]);

pub(crate) const OFFSET_FOR_LEADER_EPOCH: Shape = Shape::new(2..=4, 4, &[
    int32("replica_id").since(3),
    structs("topics", &[
        string("topic"),
        structs("partitions", &[
            int32("partition"),
            int32("current_leader_epoch"),
            int32("leader_epoch"),
        ]),
    ]),
]);

pub(crate) const DELETE_RECORDS: Shape = Shape::new(0..=2, 2, &[
    structs("topics", &[
        string("name"),
        structs("partitions", &[
            int32("partition_index"),
            int64("offset"),
        ]),
    ]),
    int32("timeout_ms"),
]);
