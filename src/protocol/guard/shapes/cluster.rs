//! Sessions with a broker, and what it says of itself and its cluster.

use crate::protocol::guard::shape::*;

pub(crate) const API_VERSIONS: Shape = Shape::new(0..=4, 3, &[
    string("client_software_name").since(3),
    string("client_software_version").since(3),
]);

pub(crate) const SASL_HANDSHAKE: Shape = Shape::new(0..=1, NEVER, &[
    string("mechanism"),
]);

pub(crate) const SASL_AUTHENTICATE: Shape = Shape::new(0..=2, 2, &[
    bytes("auth_bytes"),
]);

pub(crate) const METADATA: Shape = Shape::new(0..=13, 9, &[
    structs("topics", &[
        uuid("topic_id").since(10),
        string("name").nullable_since(10),
    ]).nullable_since(1),
    boolean("allow_auto_topic_creation").since(4),
    boolean("include_cluster_authorized_operations").since(8).until(10),
    boolean("include_topic_authorized_operations").since(8),
]);

pub(crate) const DESCRIBE_CLUSTER: Shape = Shape::new(0..=2, 0, &[
    boolean("include_cluster_authorized_operations"),
    int8("endpoint_type").since(1),
    boolean("include_fenced_brokers").since(2),
]);

pub(crate) const DESCRIBE_TOPIC_PARTITIONS: Shape = Shape::new(0..=0, 0, &[
    structs("topics", &[
        string("name"),
    ]),
    int32("response_partition_limit"),
    structure("cursor", &[
        string("topic_name"),
        int32("partition_index"),
    ]).nullable(),
]);

pub(crate) const DESCRIBE_LOG_DIRS: Shape = Shape::new(1..=4, 2, &[
    structs("topics", &[
        string("topic"),
        int32s("partitions"),
    ]).nullable(),
]);

pub(crate) const ALTER_REPLICA_LOG_DIRS: Shape = Shape::new(1..=2, 2, &[
    structs("dirs", &[
        string("path"),
        structs("topics", &[
            string("name"),
            int32s("partitions"),
        ]),
    ]),
]);

pub(crate) const ELECT_LEADERS: Shape = Shape::new(0..=2, 2, &[
    int8("election_type").since(1),
    structs("topic_partitions", &[
        string("topic"),
        int32s("partitions"),
    ]).nullable(),
    int32("timeout_ms"),
]);
