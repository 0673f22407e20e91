//! InitProducerId 0–5: ids for idempotent producers (KIP-98).
//!
//! - Without a transactional id: the next id of the current block, epoch 0. A block is set aside in the metadata store
//!   before the first of its ids is handed out, and no id is handed out twice, whatever happens to the broker.
//! - v3 lets a producer name the id and epoch it had (KIP-360). Without transactions Kafka answers a new id all the same
//!   (`TransactionCoordinator.handleInitProducerId`); one of the two alone is INVALID_REQUEST. v2 is flexible; v4 and v5
//!   change what errors mean to transactional producers.
//! - Not served: transactions. A transactional id is answered INVALID_TRANSACTION_TIMEOUT: of the codes that say nothing
//!   false about the caller's rights or epoch, it is the one at which the Java client and librdkafka both give up at
//!   once (`InitProducerIdHandler`, `rd_kafka_idemp_check_error`); it reads as "no transaction may last any time here".

use std::ops::Range;

use kafka_protocol::messages;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use tokio::sync::Mutex;

use super::{Context, Refused};
use crate::metadata::{ChangeError, Metadata};
use crate::protocol::ErrorCode;
use crate::types::{ProducerEpoch, ProducerId};

pub(super) async fn init(ctx: &Context, request: InitProducerIdRequest) -> Result<InitProducerIdResponse, Refused> {
    let allocated = match refusal(&request) {
        Some(code) => Err(code),
        None => ctx.services.producer_ids.next(&ctx.services.metadata).await.map_err(|error| error.error_code()),
    };
    Ok(response(allocated))
}

fn refusal(request: &InitProducerIdRequest) -> Option<ErrorCode> {
    let named = (request.producer_id.0 != ProducerId::NONE.0, request.producer_epoch != ProducerEpoch::NONE.0);
    match &request.transactional_id {
        _ if named.0 != named.1 => Some(ErrorCode::InvalidRequest),
        None => None,
        Some(id) if id.is_empty() => Some(ErrorCode::InvalidRequest),
        Some(id) => {
            tracing::info!(transactional_id = %id.as_str(), "transactions are not served");
            Some(ErrorCode::InvalidTransactionTimeout)
        }
    }
}

fn response(allocated: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    let (code, id, epoch) = match allocated {
        Ok(id) => (0, id, ProducerEpoch(0)),
        Err(code) => (code.code(), ProducerId::NONE, ProducerEpoch::NONE),
    };
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(messages::ProducerId(id.0))
        .with_producer_epoch(epoch.0)
}

/// Hands out producer ids from blocks that the metadata store has set aside.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// What is left of the current block. Held while the next one is set aside: of many that come at once, one asks
    /// the store.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    async fn next(&self, metadata: &Metadata) -> Result<ProducerId, ChangeError> {
        let mut block = self.block.lock().await;
        loop {
            if let Some(id) = block.next() {
                return Ok(ProducerId(id));
            }
            *block = metadata.allocate_producer_ids().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::LocalStore;

    #[tokio::test]
    async fn every_producer_gets_an_id_of_its_own_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2 {
            let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
            let ids = ProducerIds::default();
            for _ in 0..1500 {
                assert!(seen.insert(ids.next(&metadata).await.unwrap()));
            }
        }
    }

    #[test]
    fn what_transactions_would_be_needed_for_is_refused() {
        let request = |id: Option<&'static str>| {
            let id = id.map(|id| messages::TransactionalId(kafka_protocol::protocol::StrBytes::from_static_str(id)));
            InitProducerIdRequest::default().with_transactional_id(id)
        };
        assert_eq!(refusal(&request(None)), None);
        assert_eq!(refusal(&request(Some(""))), Some(ErrorCode::InvalidRequest));
        assert_eq!(refusal(&request(Some("tx"))), Some(ErrorCode::InvalidTransactionTimeout));
    }

    #[test]
    fn an_id_and_epoch_come_together_or_not_at_all() {
        let request = |id, epoch| {
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id(messages::ProducerId(id))
                .with_producer_epoch(epoch)
        };
        assert_eq!(refusal(&request(7, 3)), None);
        assert_eq!(refusal(&request(-1, -1)), None);
        assert_eq!(refusal(&request(7, -1)), Some(ErrorCode::InvalidRequest));
        assert_eq!(refusal(&request(-1, 3)), Some(ErrorCode::InvalidRequest));
    }
}
