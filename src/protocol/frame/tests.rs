use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, HeartbeatResponse, MetadataResponse};
use proptest::prelude::*;

use super::*;

fn parsed(frame: &[u8]) -> Result<RequestHead, FrameError> {
    parse(Bytes::copy_from_slice(frame))
}

/// A header up to the client id.
fn header(api_key: i16, api_version: i16, client_id: &[u8]) -> Vec<u8> {
    [&api_key.to_be_bytes()[..], &api_version.to_be_bytes(), &7_i32.to_be_bytes(), client_id].concat()
}

#[test]
fn a_header_without_tagged_fields_is_followed_by_the_body() {
    let head = parsed(&header(3, 1, b"\0\x02idBODY")).unwrap();
    assert_eq!((head.api_key, head.api_version, head.correlation_id), (3, 1, 7));
    assert_eq!(head.client_id.as_deref(), Some("id"));
    assert_eq!(head.body, "BODY");
}

#[test]
fn a_client_id_may_be_null_or_empty() {
    assert_eq!(parsed(&header(3, 1, b"\xff\xff")).unwrap().client_id, None);
    assert_eq!(parsed(&header(3, 1, b"\0\0")).unwrap().client_id.as_deref(), Some(""));
}

#[test]
fn tagged_fields_of_a_flexible_header_are_skipped() {
    let head = parsed(&header(3, 9, b"\0\x01c\x02\x00\x03abc\x81\x01\x00BODY")).unwrap();
    assert_eq!(head.client_id.as_deref(), Some("c"));
    assert_eq!(head.body, "BODY");
}

#[test]
fn api_versions_of_a_version_to_come_is_readable_with_a_flexible_header() {
    let head = parsed(&header(18, 99, b"\0\x01c\0\x01\x02\x03")).unwrap();
    assert_eq!((head.api_version, head.correlation_id), (99, 7));
    assert_eq!(head.body, &[1, 2, 3][..]);
}

#[test]
fn an_unknown_api_is_read_up_to_its_client_id() {
    let head = parsed(&header(-5, 3, b"\0\x01c\0rest")).unwrap();
    assert_eq!((head.api_key, head.client_id.as_deref()), (-5, Some("c")));
    assert_eq!(head.body, "\0rest");
}

#[test]
fn a_negative_version_is_read_like_the_first() {
    assert_eq!(parsed(&header(3, -1, b"\0\x01c\0")).unwrap().body, "\0");
}

#[test]
fn every_truncation_of_a_header_is_refused() {
    let frame = header(3, 9, b"\0\x01c\x01\x00\x03abc");
    for length in 0..frame.len() {
        assert_eq!(parsed(&frame[..length]), Err(FrameError::Truncated), "{length} bytes");
    }
    assert!(parsed(&frame).unwrap().body.is_empty());
}

#[test]
fn bad_client_ids_and_varints_are_refused() {
    assert_eq!(parsed(&header(3, 1, b"\xff\xfe")), Err(FrameError::ClientIdLength(-2)));
    assert_eq!(parsed(&header(3, 1, b"\0\x01\xff")), Err(FrameError::ClientIdText));
    assert_eq!(parsed(&header(3, 9, b"\0\0\x80\x80\x80\x80\x80\x00")), Err(FrameError::LongVarint));
}

#[test]
fn a_response_is_length_header_and_body() {
    let body = HeartbeatResponse::default().with_throttle_time_ms(5).with_error_code(27);
    let plain = encode_response(ApiKey::Heartbeat, 1, 7, &body).unwrap();
    assert_eq!(plain[..], [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 5, 0, 27]);
    let flexible = encode_response(ApiKey::Heartbeat, 4, 7, &body).unwrap();
    assert_eq!(flexible[..], [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 5, 0, 27, 0]);
}

#[test]
fn api_versions_responses_never_have_tagged_fields_in_their_header() {
    let body = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![ApiVersion::default()]);
    let flexible = encode_response(ApiKey::ApiVersions, 3, 7, &body).unwrap();
    let expected = [0, 0, 0, 19, 0, 0, 0, 7, 0, 35, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(flexible[..], expected);
}

#[test]
fn a_response_that_its_version_cannot_carry_is_an_error() {
    let error = encode_response(ApiKey::Metadata, 99, 7, &MetadataResponse::default()).unwrap_err();
    assert!(matches!(error, EncodeError::Body { api: ApiKey::Metadata, version: 99, .. }), "{error}");
}

proptest! {
    #[test]
    fn no_frame_makes_the_parser_panic(
        (api_key, api_version) in (0..90_i16, -1..20_i16),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let frame = [&api_key.to_be_bytes()[..], &api_version.to_be_bytes(), &rest].concat();
        if let Ok(head) = parsed(&frame) {
            prop_assert_eq!((head.api_key, head.api_version), (api_key, api_version));
            prop_assert!(head.body.len() + 10 <= frame.len());
        }
    }
}

#[test]
fn a_response_that_only_a_hostile_request_could_want_is_not_made() {
    use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
    use kafka_protocol::protocol::StrBytes;
    let name = StrBytes::from_string("x".repeat(1 << 20));
    let feature = FinalizedFeatureKey::default().with_name(name);
    let response = ApiVersionsResponse::default().with_finalized_features(vec![feature; RESPONSE_BYTES_MAX >> 20]);
    let refused = encode_response(ApiKey::ApiVersions, 3, 7, &response);
    assert!(matches!(refused, Err(EncodeError::TooLong { .. })), "{:?}", refused.map(|frame| frame.len()));
}
