//! Creating, growing and deleting topics.

mod assignment;
mod create;
mod create_partitions;
mod delete;

pub(super) use create::{PARTITIONS_PER_REQUEST_MAX, check_replication_factor, create};
pub(super) use create_partitions::create_partitions;
pub(super) use delete::delete;
