//! Replica assignments that a client makes itself: with one broker, all they can say is that broker.

use kafka_protocol::messages::BrokerId;

use crate::api::refusal::Refusal;
use crate::protocol::ErrorCode;
use crate::types::NodeId;

/// Whether these are the replicas that a partition on this one broker can have
/// (`ReplicationControlManager.validateManualPartitionAssignment`).
pub(super) fn check_replicas(replicas: &[BrokerId], node: NodeId) -> Result<(), Refusal> {
    let refused = |text: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    if replicas.is_empty() {
        return refused("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted: Vec<i32> = replicas.iter().map(|id| id.0).collect();
    sorted.sort_unstable();
    let mut previous = None;
    for id in sorted {
        if id != node.0 {
            let text = "The manual partition assignment includes broker";
            return refused(format!("{text} {id}, but no such broker is registered."));
        }
        if previous == Some(id) {
            return refused(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        previous = Some(id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_broker_once_can_be_a_partitions_replicas() {
        let check = |ids: &[i32]| {
            let replicas: Vec<BrokerId> = ids.iter().map(|&id| BrokerId(id)).collect();
            check_replicas(&replicas, NodeId(1)).map_err(|refusal| refusal.message.unwrap())
        };
        assert_eq!(check(&[1]), Ok(()));
        assert!(check(&[]).unwrap_err().contains("an empty replica list"));
        assert!(check(&[1, 2]).unwrap_err().contains("includes broker 2, but no such broker is registered."));
        assert!(check(&[1, 1]).unwrap_err().contains("includes the broker 1 more than once."));
    }
}
