//! Describing and altering configurations.

mod alter;
mod describe;

pub(super) use alter::{alter, incremental_alter};
pub(super) use describe::describe;

use crate::config::{Kind, Source};

/// `ConfigResource.Type`.
mod resource_type {
    pub(super) const TOPIC: i8 = 2;
    pub(super) const BROKER: i8 = 4;
    pub(super) const BROKER_LOGGER: i8 = 8;
    pub(super) const CLIENT_METRICS: i8 = 16;
    pub(super) const GROUP: i8 = 32;
}

/// `DescribeConfigsResponse.ConfigSource`.
pub(super) fn source_id(source: Source) -> i8 {
    match source {
        Source::DynamicTopic => 1,
        Source::DynamicBroker => 2,
        Source::StaticBroker => 4,
        Source::Default => 5,
    }
}

/// `DescribeConfigsResponse.ConfigType`.
fn kind_id(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
