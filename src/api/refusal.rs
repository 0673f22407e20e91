//! Why one item of a request is refused, while the others may be served (`org.apache.kafka.common.requests.ApiError`).

use std::collections::BTreeSet;

use kafka_protocol::protocol::StrBytes;

use crate::config::InvalidConfig;
use crate::log::names::InvalidTopicName;
use crate::metadata::ChangeError;
use crate::protocol::ErrorCode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: ErrorCode,
    /// What the client shows; `None` leaves it to the code's own text.
    pub message: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: Some(message.into()) }
    }

    pub(super) fn bare(code: ErrorCode) -> Refusal {
        Refusal { code, message: None }
    }

    pub(super) fn wire_message(&self) -> Option<StrBytes> {
        self.message.clone().map(StrBytes::from_string)
    }
}

/// An outcome's error code and message.
pub(super) fn wire<T>(outcome: &Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(_) => (0, None),
        Err(refusal) => (refusal.code.code(), refusal.wire_message()),
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Refusal {
        Refusal::new(error.error_code(), error.to_string())
    }
}

impl From<InvalidConfig> for Refusal {
    fn from(InvalidConfig(text): InvalidConfig) -> Refusal {
        Refusal::new(ErrorCode::InvalidConfig, text)
    }
}

impl From<InvalidTopicName> for Refusal {
    fn from(invalid: InvalidTopicName) -> Refusal {
        Refusal::new(ErrorCode::InvalidTopicException, invalid.to_string())
    }
}

/// The items that occur more than once.
pub(super) fn duplicates<T: Ord + Clone>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| !seen.insert(item.clone())).collect()
}
