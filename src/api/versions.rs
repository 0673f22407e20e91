//! ApiVersions 0–4: what is served, straight from the table.
//!
//! - A version above ours is answered in version 0 with UNSUPPORTED_VERSION and the list, so that the client can ask
//!   again (KIP-511); `dispatch` sees to that.
//! - v3 brings the client's software name and version (KIP-511), refused where they are not plain words.
//! - No features are listed (KIP-584): none of what they switch is served yet.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::table::{APIS, Api};
use super::{Context, Refused};
use crate::protocol::ErrorCode;

const SOFTWARE_SINCE: i16 = 3;

pub(super) async fn versions(ctx: &Context, request: ApiVersionsRequest) -> Result<ApiVersionsResponse, Refused> {
    let valid = ctx.version < SOFTWARE_SINCE
        || (is_software_word(&request.client_software_name) && is_software_word(&request.client_software_version));
    if !valid {
        return Ok(ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code()));
    }
    Ok(listed())
}

/// The answer to a version that is not served.
pub(super) fn unsupported() -> ApiVersionsResponse {
    listed().with_error_code(ErrorCode::UnsupportedVersion.code())
}

fn listed() -> ApiVersionsResponse {
    let row = |api: &Api| {
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(api.listed_min).with_max_version(api.max)
    };
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(row).collect())
}

/// Letters, digits, dots and dashes, beginning and ending with a letter or digit
/// (`ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN`).
fn is_software_word(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    let inner = text.bytes().all(|byte| word(byte) || byte == b'-' || byte == b'.');
    inner && text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_words_are_those_that_kafka_takes() {
        for good in ["apache-kafka-java", "4.3.0", "a", "librdkafka", "2.16.0-RC1"] {
            assert!(is_software_word(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "with space", "a/b", "ü"] {
            assert!(!is_software_word(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_listed_is_what_the_generated_code_can_read() {
        for api in APIS {
            let known = api.key.valid_versions();
            assert!(api.min >= known.min && api.max <= known.max, "{api:?} outside {known}");
            assert!(api.listed_min <= api.min, "{api:?}");
        }
    }
}
