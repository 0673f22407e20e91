//! Every API that is served: ApiVersions, dispatch and `docs/apis.md` all come from here.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::dispatch::{Call, Rejected, Reply};
use super::{
    Context, cluster, configs, delete_records, fetch, find_coordinator, group_admin, group_offsets, groups,
    list_offsets, log_dirs, metadata, produce, producer_ids, topics, versions,
};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    pub key: ApiKey,
    /// First and last version that is served.
    pub min: i16,
    pub max: i16,
    /// First version that ApiVersions lists.
    pub listed_min: i16,
}

/// Declares the rows and, from the same rows, the call of each handler. A `typed` handler is
/// `async fn(&Context, XRequest) -> Result<XResponse, Refused>`, a `meeting` one too, which other clients' requests
/// complete; a `staged` one is `fn(&Context, Call, XRequest) -> Result<Reply, Rejected>` and has fixed the order of its
/// effects when it returns.
macro_rules! apis {
    ($($shape:ident $key:ident $min:literal ..= $max:literal $(listed from $listed:literal)? => $module:ident::$handler:ident;)*) => {
        /// The APIs, by key.
        pub const APIS: &[Api] = &[$(
            Api { key: ApiKey::$key, min: $min, max: $max, listed_min: apis!(@listed $min $($listed)?) },
        )*];

        /// Decodes the body, has it handled, and encodes the answer.
        pub(super) fn handle(context: Context, call: Call, body: Bytes) -> Result<Reply, Rejected> {
            match call.api {
                $(ApiKey::$key => apis!(@$shape context, call, body, $module::$handler),)*
                unserved => Err(Rejected::UnknownApi(unserved as i16)),
            }
        }
    };
    (@listed $min:literal) => { $min };
    (@listed $min:literal $listed:literal) => { $listed };
    (@staged $context:ident, $call:ident, $body:ident, $handler:path) => {
        $handler(&$context, $call, $call.decode($body)?)
    };
    (@typed $context:ident, $call:ident, $body:ident, $handler:path) => {
        Ok(Reply::InTurn(apis!(@pending $context, $call, $body, $handler)))
    };
    (@meeting $context:ident, $call:ident, $body:ident, $handler:path) => {
        Ok(Reply::AwaitsOthers(apis!(@pending $context, $call, $body, $handler)))
    };
    (@pending $context:ident, $call:ident, $body:ident, $handler:path) => {{
        let request = $call.decode($body)?;
        Box::pin(async move {
            let response = $handler(&$context, request).await.map_err(|refused| $call.refused(refused))?;
            $call.encode(&response)
        })
    }};
}

pub fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

apis! {
    // Listed from 0 although 0–2 are refused: librdkafka stops compressing otherwise (KAFKA-18659).
    staged Produce 3..=13 listed from 0 => produce::handle;
    staged Fetch 4..=18 => fetch::handle;
    typed ListOffsets 1..=10 => list_offsets::list_offsets;
    typed Metadata 0..=13 => metadata::metadata;
    typed OffsetCommit 2..=9 => group_offsets::commit;
    typed OffsetFetch 1..=9 => group_offsets::fetch;
    typed FindCoordinator 0..=6 => find_coordinator::find;
    meeting JoinGroup 0..=9 => groups::join;
    typed Heartbeat 0..=4 => groups::heartbeat;
    typed LeaveGroup 0..=5 => groups::leave;
    meeting SyncGroup 0..=5 => groups::sync;
    typed DescribeGroups 0..=6 => group_admin::describe;
    typed ListGroups 0..=5 => group_admin::list;
    typed ApiVersions 0..=4 => versions::versions;
    typed CreateTopics 2..=7 => topics::create;
    typed DeleteTopics 1..=6 => topics::delete;
    typed DeleteRecords 0..=2 => delete_records::delete;
    typed InitProducerId 0..=5 => producer_ids::init;
    typed OffsetForLeaderEpoch 2..=4 => list_offsets::for_leader_epoch;
    typed DescribeConfigs 1..=4 => configs::describe;
    typed AlterConfigs 0..=2 => configs::alter;
    typed AlterReplicaLogDirs 1..=2 => log_dirs::alter;
    typed DescribeLogDirs 1..=4 => log_dirs::describe;
    typed CreatePartitions 0..=3 => topics::create_partitions;
    typed DeleteGroups 0..=2 => group_admin::delete;
    typed IncrementalAlterConfigs 0..=1 => configs::incremental_alter;
    typed OffsetDelete 0..=0 => group_offsets::delete;
    typed DescribeCluster 0..=2 => cluster::describe;
    typed DescribeTopicPartitions 0..=0 => metadata::describe_topic_partitions;
}
