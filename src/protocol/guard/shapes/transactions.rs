//! Idempotent and transactional producers.

use crate::protocol::guard::shape::*;

pub(crate) const INIT_PRODUCER_ID: Shape = Shape::new(0..=5, 2, &[
    string("transactional_id").nullable(),
    int32("transaction_timeout_ms"),
    int64("producer_id").since(3),
    int16("producer_epoch").since(3),
]);

pub(crate) const ADD_PARTITIONS_TO_TXN: Shape = Shape::new(0..=5, 3, &[
    structs("transactions", &[
        string("transactional_id"),
        int64("producer_id"),
        int16("producer_epoch"),
        boolean("verify_only"),
        structs("topics", &[
            string("name"),
            int32s("partitions"),
        ]),
    ]).since(4),
    string("v3_and_below_transactional_id").until(3),
    int64("v3_and_below_producer_id").until(3),
    int16("v3_and_below_producer_epoch").until(3),
    structs("v3_and_below_topics", &[
        string("name"),
        int32s("partitions"),
    ]).until(3),
]);

pub(crate) const ADD_OFFSETS_TO_TXN: Shape = Shape::new(0..=4, 3, &[
    string("transactional_id"),
    int64("producer_id"),
    int16("producer_epoch"),
    string("group_id"),
]);

pub(crate) const END_TXN: Shape = Shape::new(0..=5, 3, &[
    string("transactional_id"),
    int64("producer_id"),
    int16("producer_epoch"),
    boolean("committed"),
]);

pub(crate) const WRITE_TXN_MARKERS: Shape = Shape::new(1..=1, 1, &[
    structs("markers", &[
        int64("producer_id"),
        int16("producer_epoch"),
        boolean("transaction_result"),
        structs("topics", &[
            string("name"),
            int32s("partition_indexes"),
        ]),
        int32("coordinator_epoch"),
    ]),
]);

pub(crate) const TXN_OFFSET_COMMIT: Shape = Shape::new(0..=5, 3, &[
    string("transactional_id"),
    string("group_id"),
    int64("producer_id"),
    int16("producer_epoch"),
    int32("generation_id").since(3),
    string("member_id").since(3),
    string("group_instance_id").since(3).nullable(),
    structs("topics", &[
        string("name"),
        structs("partitions", &[
            int32("partition_index"),
            int64("committed_offset"),
            int32("committed_leader_epoch").since(2),
            string("committed_metadata").nullable(),
        ]),
    ]),
]);

pub(crate) const DESCRIBE_PRODUCERS: Shape = Shape::new(0..=0, 0, &[
    structs("topics", &[
        string("name"),
        int32s("partition_indexes"),
    ]),
]);

pub(crate) const DESCRIBE_TRANSACTIONS: Shape = Shape::new(0..=0, 0, &[
    strings("transactional_ids"),
]);

pub(crate) const LIST_TRANSACTIONS: Shape = Shape::new(0..=2, 0, &[
    strings("state_filters"),
    int64s("producer_id_filters"),
    int64("duration_filter").since(1),
    string("transactional_id_pattern").since(2).nullable(),
]);
