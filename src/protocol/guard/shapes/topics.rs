//! Topics, their configs and access to them.

use crate::protocol::guard::shape::*;

pub(crate) const CREATE_TOPICS: Shape = Shape::new(2..=7, 5, &[
    structs("topics", &[
        string("name"),
        int32("num_partitions"),
        int16("replication_factor"),
        structs("assignments", &[
            int32("partition_index"),
            int32s("broker_ids"),
        ]),
        structs("configs", &[
            string("name"),
            string("value").nullable(),
        ]),
    ]),
    int32("timeout_ms"),
    boolean("validate_only"),
]);

pub(crate) const DELETE_TOPICS: Shape = Shape::new(1..=6, 4, &[
    structs("topics", &[
        string("name").nullable(),
        uuid("topic_id"),
    ]).since(6),
    strings("topic_names").until(5),
    int32("timeout_ms"),
]);

pub(crate) const CREATE_PARTITIONS: Shape = Shape::new(0..=3, 2, &[
    structs("topics", &[
        string("name"),
        int32("count"),
        structs("assignments", &[
            int32s("broker_ids"),
        ]).nullable(),
    ]),
    int32("timeout_ms"),
    boolean("validate_only"),
]);

pub(crate) const DESCRIBE_CONFIGS: Shape = Shape::new(1..=4, 4, &[
    structs("resources", &[
        int8("resource_type"),
        string("resource_name"),
        strings("configuration_keys").nullable(),
    ]),
    boolean("include_synonyms"),
    boolean("include_documentation").since(3),
]);

pub(crate) const ALTER_CONFIGS: Shape = Shape::new(0..=2, 2, &[
    structs("resources", &[
        int8("resource_type"),
        string("resource_name"),
        structs("configs", &[
            string("name"),
            string("value").nullable(),
        ]),
    ]),
    boolean("validate_only"),
]);

pub(crate) const INCREMENTAL_ALTER_CONFIGS: Shape = Shape::new(0..=1, 1, &[
    structs("resources", &[
        int8("resource_type"),
        string("resource_name"),
        structs("configs", &[
            string("name"),
            int8("config_operation"),
            string("value").nullable(),
        ]),
    ]),
    boolean("validate_only"),
]);

pub(crate) const DESCRIBE_ACLS: Shape = Shape::new(1..=3, 2, &[
    int8("resource_type_filter"),
    string("resource_name_filter").nullable(),
    int8("pattern_type_filter"),
    string("principal_filter").nullable(),
    string("host_filter").nullable(),
    int8("operation"),
    int8("permission_type"),
]);

pub(crate) const CREATE_ACLS: Shape = Shape::new(1..=3, 2, &[
    structs("creations", &[
        int8("resource_type"),
        string("resource_name"),
        int8("resource_pattern_type"),
        string("principal"),
        string("host"),
        int8("operation"),
        int8("permission_type"),
    ]),
]);

pub(crate) const DELETE_ACLS: Shape = Shape::new(1..=3, 2, &[
    structs("filters", &[
        int8("resource_type_filter"),
        string("resource_name_filter").nullable(),
        int8("pattern_type_filter"),
        string("principal_filter").nullable(),
        string("host_filter").nullable(),
        int8("operation"),
        int8("permission_type"),
    ]),
]);
