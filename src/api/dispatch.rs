//! From a frame to its reply: header, table row, version gate, guard, decoding, handler, encoding. Once for all APIs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::table::{self, Api};
use super::{Client, Context, Refused, Services, versions};
use crate::protocol::frame::{self, FrameError, RequestHead};
use crate::protocol::guard::{self, GuardError};
use crate::protocol::response::Response;

/// A response that is still being made.
pub type Pending = Pin<Box<dyn Future<Output = Result<Response, Rejected>> + Send>>;

/// What a request gets.
pub enum Reply {
    /// Nothing, not even an empty frame: Produce with `acks=0`.
    None,
    Now(Response),
    /// The order of its effects is already fixed; the connection reads on while it waits (Produce, Fetch).
    Staged(Pending),
    /// The connection reads nothing further until it is done: what a client sends one after the other takes effect one
    /// after the other, as in Kafka.
    InTurn(Pending),
    /// In turn as well, and what it waits for are requests of other clients (JoinGroup, SyncGroup).
    AwaitsOthers(Pending),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reply::None => "None",
            Reply::Now(_) => "Now",
            Reply::Staged(_) => "Staged",
            Reply::InTurn(_) => "InTurn",
            Reply::AwaitsOthers(_) => "AwaitsOthers",
        })
    }
}

/// Why a request closes its connection.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("API key {0} is not served")]
    UnknownApi(i16),
    #[error("{api:?} version {version} is not served ({min} to {max})")]
    UnsupportedVersion { api: ApiKey, version: i16, min: i16, max: i16 },
    #[error("{api:?} version {version}: {source}")]
    Malformed { api: ApiKey, version: i16, source: GuardError },
    #[error("{api:?} version {version}: {source}")]
    Undecodable { api: ApiKey, version: i16, source: anyhow::Error },
    #[error("{api:?}: {source}")]
    Refused { api: ApiKey, source: Refused },
    #[error("{api:?} version {version}: response: {source}")]
    Unencodable { api: ApiKey, version: i16, source: frame::EncodeError },
}

/// One request on its way through a handler.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
}

/// Handles one frame (without its length prefix).
pub fn dispatch(services: &Arc<Services>, client: &Arc<Client>, frame: Bytes) -> Result<Reply, Rejected> {
    let head = frame::parse(frame)?;
    let api = table::find(head.api_key).ok_or(Rejected::UnknownApi(head.api_key))?;
    let call = Call { api: api.key, version: head.api_version, correlation_id: head.correlation_id };
    if !(api.min..=api.max).contains(&call.version) {
        return out_of_range(call, api);
    }
    guard::check(call.api, call.version, &head.body).map_err(|source| Rejected::Malformed {
        api: call.api,
        version: call.version,
        source,
    })?;
    let RequestHead { client_id, body, .. } = head;
    let context = Context { services: services.clone(), client: client.clone(), version: call.version, client_id };
    table::handle(context, call, body)
}

/// A version that is not served: only ApiVersions can say so to a client that knows no better (KIP-511).
fn out_of_range(call: Call, api: &Api) -> Result<Reply, Rejected> {
    if call.api != ApiKey::ApiVersions {
        return Err(Rejected::UnsupportedVersion { api: api.key, version: call.version, min: api.min, max: api.max });
    }
    call.encode_as(0, &versions::unsupported()).map(Reply::Now)
}

impl Call {
    /// Reads the body; the guard has been over it.
    pub(super) fn decode<R: Decodable>(self, mut body: Bytes) -> Result<R, Rejected> {
        R::decode(&mut body, self.version).map_err(|source| Rejected::Undecodable {
            api: self.api,
            version: self.version,
            source,
        })
    }

    pub(super) fn encode(self, response: &impl Encodable) -> Result<Response, Rejected> {
        self.encode_as(self.version, response)
    }

    fn encode_as(self, version: i16, response: &impl Encodable) -> Result<Response, Rejected> {
        frame::encode_response(self.api, version, self.correlation_id, response)
            .map(Response::from)
            .map_err(|source| Rejected::Unencodable { api: self.api, version, source })
    }

    pub(super) fn refused(self, source: Refused) -> Rejected {
        Rejected::Refused { api: self.api, source }
    }
}
