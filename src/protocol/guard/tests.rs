//! The table is held against the decoder that it guards: bodies are written from the shapes, and what the guard accepts
//! the decoder must read, and write again byte for byte.

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes, VersionRange};

use super::shape::{Field, Kind};
use super::walk::{STRING_BYTES, STRUCT_BYTES, TAG_BYTES};
use super::*;

type Codec<T> = fn(T, i16) -> anyhow::Result<Bytes>;

/// One API with the decoder's view of it.
struct Api {
    key: ApiKey,
    versions: VersionRange,
    encode_default: Codec<()>,
    /// Decodes a body, which it must consume, and encodes what was decoded.
    recode: Codec<Bytes>,
}

fn api<R: Request + Default>() -> Api {
    fn encode<R: Encodable>(request: &R, version: i16) -> anyhow::Result<Bytes> {
        let mut body = BytesMut::new();
        request.encode(&mut body, version)?;
        Ok(body.freeze())
    }
    fn recode<R: Encodable + Decodable>(mut body: Bytes, version: i16) -> anyhow::Result<Bytes> {
        let request = R::decode(&mut body, version)?;
        anyhow::ensure!(body.is_empty(), "{} bytes left", body.len());
        encode(&request, version)
    }
    Api {
        key: ApiKey::try_from(R::KEY).unwrap(),
        versions: R::VERSIONS,
        encode_default: |(), version| encode(&R::default(), version),
        recode: recode::<R>,
    }
}

macro_rules! apis {
    ($($request:ident)*) => { [$(api::<$request>()),*] };
}

fn apis() -> [Api; 45] {
    apis! {
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest TxnOffsetCommitRequest
        DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest AlterConfigsRequest
        AlterReplicaLogDirsRequest DescribeLogDirsRequest SaslAuthenticateRequest CreatePartitionsRequest
        DeleteGroupsRequest ElectLeadersRequest IncrementalAlterConfigsRequest OffsetDeleteRequest
        DescribeClusterRequest DescribeProducersRequest DescribeTransactionsRequest ListTransactionsRequest
        ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest DescribeTopicPartitionsRequest
    }
}

/// Runs `test` for each version of each API, with a name to blame.
fn for_each_version(test: impl Fn(&Api, i16, &str)) {
    for api in apis() {
        for version in api.versions.min..=api.versions.max {
            test(&api, version, &format!("{:?} v{version}", api.key));
        }
    }
}

/// Writes random bodies from a shape, in the one form in which the encoder writes them too.
struct Writer {
    rng: Rng,
    version: i16,
    flexible: bool,
    unknown_tags: bool,
    out: Vec<u8>,
}

impl Writer {
    fn body(api: ApiKey, version: i16, seed: u64, unknown_tags: bool) -> Bytes {
        let shape = shapes::of(api).unwrap();
        let flexible = version >= shape.flexible_since;
        let mut writer = Writer { rng: Rng::with_seed(seed), version, flexible, unknown_tags, out: Vec::new() };
        writer.structure(shape.fields);
        writer.out.into()
    }

    fn structure(&mut self, fields: &[Field]) {
        let present = || fields.iter().filter(|field| field.is_in(self.version));
        let tagged: Vec<_> = present().filter(|field| field.tag.is_some() && self.flexible).collect();
        present().filter(|field| field.tag.is_none()).collect::<Vec<_>>().into_iter().for_each(|f| self.field(f));
        if !self.flexible {
            return;
        }
        self.varint(tagged.len() as u32 + u32::from(self.unknown_tags));
        for field in tagged {
            let start = std::mem::take(&mut self.out);
            self.field(field);
            let value = std::mem::replace(&mut self.out, start);
            self.varint(field.tag.unwrap());
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
        if self.unknown_tags {
            self.out.extend([100, 3, 7, 8, 9]);
        }
    }

    fn field(&mut self, field: &Field) {
        let nullable = field.is_nullable_in(self.version) && field.tag.is_none();
        let null = nullable && self.rng.u8(..4) == 0;
        match field.kind {
            Kind::Fixed(1) => self.out.push(u8::from(self.rng.bool())),
            Kind::Fixed(width) => self.random(width),
            Kind::String if null => self.length(None, 2),
            Kind::Bytes | Kind::FixedArray(_) | Kind::StringArray | Kind::StructArray(_) if null => {
                self.length(None, 4)
            }
            Kind::Struct(_) if null => self.out.push(0xff),
            Kind::String => self.string(),
            Kind::Bytes => self.repeat(|w| w.random(1)),
            Kind::FixedArray(width) => self.repeat(|w| w.random(width)),
            Kind::StringArray => self.repeat(Writer::string),
            Kind::StructArray(fields) => self.repeat(|w| w.structure(fields)),
            Kind::Struct(fields) => {
                self.out.extend(nullable.then_some(1));
                self.structure(fields);
            }
        }
    }

    fn repeat(&mut self, element: impl Fn(&mut Writer)) {
        let count = self.rng.usize(..4);
        self.length(Some(count), 4);
        (0..count).for_each(|_| element(self));
    }

    fn string(&mut self) {
        let text: String = (0..self.rng.usize(..200)).map(|_| self.rng.alphanumeric()).collect();
        self.length(Some(text.len()), 2);
        self.out.extend(text.into_bytes());
    }

    fn random(&mut self, width: usize) {
        let bytes: Vec<u8> = (0..width).map(|_| self.rng.u8(..)).collect();
        self.out.extend(bytes);
    }

    fn length(&mut self, length: Option<usize>, prefix_len: usize) {
        if self.flexible {
            return self.varint(length.map_or(0, |length| length as u32 + 1));
        }
        let length = length.map_or(-1, |length| length as i32).to_be_bytes();
        self.out.extend(&length[4 - prefix_len..]);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

#[test]
fn each_shape_has_the_versions_of_the_decoder() {
    for api in apis() {
        let shape = shapes::of(api.key).unwrap();
        assert_eq!(shape.versions, api.versions.min..=api.versions.max, "{:?}", api.key);
        for version in api.versions.min..=api.versions.max {
            let flexible = version >= shape.flexible_since;
            assert_eq!(flexible, api.key.request_header_version(version) == 2, "{:?} v{version}", api.key);
        }
    }
}

#[test]
fn default_requests_pass_and_nothing_of_them_is_left() {
    for_each_version(|api, version, name| {
        let body = (api.encode_default)((), version).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(walk(api.key, version, &body), Ok(&[][..]), "{name}");
    });
}

#[test]
fn what_a_shape_describes_the_decoder_reads_and_writes_again_unchanged() {
    for_each_version(|api, version, name| {
        for seed in 0..50 {
            let body = Writer::body(api.key, version, seed, seed % 2 == 1);
            assert_eq!(walk(api.key, version, &body), Ok(&[][..]), "{name}, seed {seed}");
            let again = (api.recode)(body.clone(), version).unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
            assert_eq!(again, body, "{name}, seed {seed}");
        }
    });
}

#[test]
fn every_truncation_is_refused() {
    for_each_version(|api, version, name| {
        for seed in 0..3 {
            let body = Writer::body(api.key, version, seed, true);
            for length in 0..body.len() {
                assert!(check(api.key, version, &body[..length]).is_err(), "{name}, seed {seed}, {length} bytes");
            }
        }
    });
}

#[test]
fn a_mutated_body_is_refused_or_decodes_as_far_as_its_text_is_utf8() {
    for_each_version(|api, version, name| {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let mut body = Writer::body(api.key, version, seed, rng.bool()).to_vec();
            for _ in 0..rng.usize(1..4).min(body.len()) {
                let at = rng.usize(..body.len());
                let any = rng.u8(..);
                body[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff, any]).unwrap();
            }
            let Ok(rest) = walk(api.key, version, &body) else { continue };
            let request = Bytes::copy_from_slice(&body[..body.len() - rest.len()]);
            if let Err(error) = (api.recode)(request, version) {
                assert!(format!("{error:#}").contains("utf-8"), "{name}, seed {seed}: {error:#}");
            }
        }
    });
}

#[test]
fn an_array_that_announces_more_than_the_body_holds_is_refused_before_it_is_allocated() {
    let body = 0x7fff_ffff_u32.to_be_bytes();
    let refused = GuardError::BeyondEnd { field: "topics", announced: 0x7fff_ffff, left: 0 };
    assert_eq!(check(ApiKey::CreateTopics, 2, &body), Err(refused));

    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let refused = GuardError::BeyondEnd { field: "topics", announced: 0xffff_fffe, left: 0 };
    assert_eq!(check(ApiKey::CreateTopics, 7, &compact), Err(refused));
}

#[test]
fn an_array_of_numbers_must_have_room_for_all_of_them() {
    let mut body = b"\0\0\0\x01\0\x01t\0\0\0\x04".to_vec();
    body.extend([0; 15]);
    let refused = GuardError::Truncated { field: "partitions" };
    assert_eq!(check(ApiKey::DescribeLogDirs, 1, &body), Err(refused));
    body.push(0);
    assert_eq!(check(ApiKey::DescribeLogDirs, 1, &body), Ok(()));
}

#[test]
fn negative_lengths_other_than_null_are_refused() {
    let refused = GuardError::NegativeLength { field: "topics", length: -2 };
    assert_eq!(check(ApiKey::Metadata, 1, &(-2_i32).to_be_bytes()), Err(refused));
    let refused = GuardError::NegativeLength { field: "group_id", length: -32768 };
    assert_eq!(check(ApiKey::Heartbeat, 0, &[0x80, 0]), Err(refused));
}

#[test]
fn null_is_accepted_from_the_version_on_that_allows_it() {
    let null = (-1_i32).to_be_bytes();
    assert_eq!(check(ApiKey::Metadata, 0, &null), Err(GuardError::Null { field: "topics" }));
    assert_eq!(check(ApiKey::Metadata, 1, &null), Ok(()));
    assert_eq!(check(ApiKey::Heartbeat, 0, &[0xff, 0xff]), Err(GuardError::Null { field: "group_id" }));
    assert_eq!(check(ApiKey::Heartbeat, 4, &[0]), Err(GuardError::Null { field: "group_id" }));
}

#[test]
fn bytes_behind_the_last_field_are_tolerated() {
    assert_eq!(check(ApiKey::ApiVersions, 0, b"behind"), Ok(()));
    assert_eq!(walk(ApiKey::Metadata, 1, b"\0\0\0\0behind"), Ok(&b"behind"[..]));
}

#[test]
fn apis_and_versions_without_a_shape_are_refused() {
    assert_eq!(check(ApiKey::Vote, 0, &[]), Err(GuardError::UnknownApi(ApiKey::Vote)));
    for version in [-1, 2, 14, i16::MAX] {
        let refused = GuardError::UnknownVersion { api: ApiKey::Produce, version };
        assert_eq!(check(ApiKey::Produce, version, &[]), Err(refused));
    }
}

#[test]
fn a_nullable_structure_is_either_present_or_null() {
    // DescribeTopicPartitions v0: no topics, limit 1, cursor …, no tagged fields.
    let body = |presence: u8, cursor: &[u8]| [&[1, 0, 0, 0, 1, presence], cursor, &[0]].concat();
    assert_eq!(check(ApiKey::DescribeTopicPartitions, 0, &body(0xff, &[])), Ok(()));
    assert_eq!(check(ApiKey::DescribeTopicPartitions, 0, &body(1, &[2, b't', 0, 0, 0, 0, 0])), Ok(()));
    let refused = GuardError::Presence { field: "cursor", byte: 0 };
    assert_eq!(check(ApiKey::DescribeTopicPartitions, 0, &body(0, &[])), Err(refused));
}

/// An empty fetch of v12 or later, up to its tagged fields.
fn fetch(version: i16, tagged: &[u8]) -> Vec<u8> {
    let replica_id: &[u8] = if version <= 14 { &[0xff; 4] } else { &[] };
    let numbers = [0; 4 + 4 + 4 + 1 + 4 + 4];
    [replica_id, &numbers, &[1, 1, 1], tagged].concat()
}

#[test]
fn a_known_tagged_field_is_walked_and_must_be_as_long_as_it_says() {
    let check = |version, tagged: &[u8]| check(ApiKey::Fetch, version, &fetch(version, tagged));
    assert_eq!(check(12, &[1, 0, 3, 3, b'i', b'd']), Ok(()));
    let size = |size| Err(GuardError::TagSize { field: "cluster_id", size, taken: 3 });
    assert_eq!(check(12, &[1, 0, 2, 3, b'i', b'd']), size(2));
    assert_eq!(check(12, &[1, 0, 4, 3, b'i', b'd', 0]), size(4));
    let beyond = GuardError::BeyondEnd { field: "cluster_id", announced: 0x7e, left: 1 };
    assert_eq!(check(12, &[1, 0, 2, 0x7f, b'i']), Err(beyond));
    assert_eq!(check(14, &[1, 1, 0]), Err(GuardError::UnexpectedTag { field: "replica_state" }));
}

#[test]
fn a_varint_has_five_bytes_at_most() {
    let metadata = |topics: &[u8]| check(ApiKey::Metadata, 9, &[topics, &[0, 0, 0, 0]].concat());
    assert_eq!(metadata(&[0x81, 0x80, 0x80, 0x80, 0x00]), Ok(()));
    assert_eq!(metadata(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(GuardError::LongVarint { field: "topics" }));
}

#[test]
fn a_request_that_would_decode_to_too_much_is_refused() {
    // Metadata v0: a topic with an empty name is two bytes on the wire.
    let topics = |count: usize| [&(count as u32).to_be_bytes()[..], &vec![0; 2 * count]].concat();
    let most = DECODED_BYTES_MAX / STRUCT_BYTES;
    assert_eq!(check(ApiKey::Metadata, 0, &topics(most)), Ok(()));
    let refused = Err(GuardError::TooLarge { field: "topics" });
    assert_eq!(check(ApiKey::Metadata, 0, &topics(most + 1)), refused);

    // ApiVersions v3: two empty strings, then tagged fields without content, two bytes each.
    let tags = |count: u32| {
        let count_varint = [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8];
        [&[1, 1][..], &count_varint, &[9, 0].repeat(count as usize)].concat()
    };
    let most = (DECODED_BYTES_MAX / TAG_BYTES) as u32;
    assert_eq!(check(ApiKey::ApiVersions, 3, &tags(most)), Ok(()));
    let refused = Err(GuardError::TooLarge { field: "tagged fields" });
    assert_eq!(check(ApiKey::ApiVersions, 3, &tags(most + 1)), refused);
}

#[test]
fn decoded_sizes_are_not_underestimated() {
    macro_rules! sizes {
        ($($element:path)*) => { [$((stringify!($element), size_of::<$element>())),*] };
    }
    let repeated = sizes! {
        produce_request::TopicProduceData produce_request::PartitionProduceData
        fetch_request::FetchTopic fetch_request::FetchPartition fetch_request::ForgottenTopic
        list_offsets_request::ListOffsetsTopic list_offsets_request::ListOffsetsPartition
        metadata_request::MetadataRequestTopic
        offset_commit_request::OffsetCommitRequestTopic offset_commit_request::OffsetCommitRequestPartition
        offset_fetch_request::OffsetFetchRequestTopic offset_fetch_request::OffsetFetchRequestGroup
        offset_fetch_request::OffsetFetchRequestTopics
        join_group_request::JoinGroupRequestProtocol leave_group_request::MemberIdentity
        sync_group_request::SyncGroupRequestAssignment
        create_topics_request::CreatableTopic create_topics_request::CreatableReplicaAssignment
        create_topics_request::CreatableTopicConfig delete_topics_request::DeleteTopicState
        delete_records_request::DeleteRecordsTopic delete_records_request::DeleteRecordsPartition
        offset_for_leader_epoch_request::OffsetForLeaderTopic
        offset_for_leader_epoch_request::OffsetForLeaderPartition
        add_partitions_to_txn_request::AddPartitionsToTxnTransaction
        add_partitions_to_txn_request::AddPartitionsToTxnTopic
        write_txn_markers_request::WritableTxnMarker write_txn_markers_request::WritableTxnMarkerTopic
        txn_offset_commit_request::TxnOffsetCommitRequestTopic
        txn_offset_commit_request::TxnOffsetCommitRequestPartition
        create_acls_request::AclCreation delete_acls_request::DeleteAclsFilter
        describe_configs_request::DescribeConfigsResource
        alter_configs_request::AlterConfigsResource alter_configs_request::AlterableConfig
        incremental_alter_configs_request::AlterConfigsResource incremental_alter_configs_request::AlterableConfig
        alter_replica_log_dirs_request::AlterReplicaLogDir alter_replica_log_dirs_request::AlterReplicaLogDirTopic
        describe_log_dirs_request::DescribableLogDirTopic
        create_partitions_request::CreatePartitionsTopic create_partitions_request::CreatePartitionsAssignment
        elect_leaders_request::TopicPartitions
        offset_delete_request::OffsetDeleteRequestTopic offset_delete_request::OffsetDeleteRequestPartition
        describe_producers_request::TopicRequest describe_topic_partitions_request::TopicRequest
        consumer_group_heartbeat_request::TopicPartitions
    };
    for (name, size) in repeated {
        assert!(size <= STRUCT_BYTES, "{name} takes {size} bytes");
    }
    assert_eq!(size_of::<StrBytes>(), STRING_BYTES);
    // A B-tree node: 11 keys and values, its parent, its index there and its length.
    assert!(11 * (size_of::<i32>() + size_of::<Bytes>()) + size_of::<usize>() + 2 * size_of::<u16>() <= TAG_BYTES);
}
