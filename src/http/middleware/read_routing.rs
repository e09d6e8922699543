//! Serves reads from replicas of the database, if there are any. A client sees its own writes in all later reads: also through
//! another server, if it sends the `Afforo-Position` of the response to its write.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::counter;

use super::{Client, retry::Repeated};
use crate::{
    audit::Actor,
    db::{Chosen, ClientId, Position, Replicas},
    http::{Caller, Reads, unfit_connection},
};

/// The position of a client's last write.
pub const AFFORO_POSITION: HeaderName = HeaderName::from_static("afforo-position");

/// Runs a request: a read on a replica that has all writes of its client. `retry_read` must be around it.
pub async fn route_reads(State(replicas): State<Replicas>, request: Request, next: Next) -> Response {
    let once = async |request, next: Next| next.run(request).await;
    run(Some(replicas), request, next, once).await
}

/// The same for a request that runs in another way.
pub(super) async fn run(
    replicas: Option<Replicas>,
    request: Request,
    next: Next,
    once: impl AsyncFn(Request, Next) -> Response,
) -> Response {
    let Some(replicas) = replicas else {
        return once(request, next).await;
    };
    let client = client_id(&request);
    if !request.method().is_safe() {
        let mut response = once(request, next).await;
        // The response to a write that failed may be wrong about that, so it counts too.
        if let Some(position) = replicas.note_write(client) {
            let value = HeaderValue::from_str(&position.to_string()).expect("digits");
            response.headers_mut().insert(AFFORO_POSITION, value);
        }
        return response;
    }
    if request.extensions().get::<Repeated>().is_some() {
        return once(request, next).await;
    }
    match choose(&replicas, &client, &request) {
        Some(replica) => run_on(replica, request, next, once).await,
        None => once(request, next).await,
    }
}

/// A position that is not a number might be that of any write, so the primary serves the read.
fn choose(replicas: &Replicas, client: &ClientId, request: &Request) -> Option<Chosen> {
    let position: Option<Position> = match request.headers().get(AFFORO_POSITION) {
        Some(value) => Some(value.to_str().ok()?.parse().ok()?),
        None => None,
    };
    replicas.choose(client, position)
}

/// Runs a read on a replica. A failure is marked, so that [`retry`](super::retry) runs the request again.
async fn run_on(
    replica: Chosen,
    mut request: Request,
    next: Next,
    once: impl AsyncFn(Request, Next) -> Response,
) -> Response {
    request.extensions_mut().insert(Reads(replica.reads));
    let mut response = tokio::select! {
        biased;
        response = once(request, next) => response,
        () = replica.lost.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    if !response.status().is_server_error() {
        return response;
    }
    counter!("afforo_replica_fallbacks_total").increment(1);
    unfit_connection::mark(&mut response);
    response
}

fn client_id(request: &Request) -> ClientId {
    let caller = request.extensions().get::<Caller>();
    match caller.map(|caller| &caller.grant.actor) {
        Some(Actor::Key { id, .. }) => ClientId::Key(*id),
        Some(Actor::Account { id, .. }) => ClientId::Account(*id),
        _ => {
            let client = request.extensions().get::<Client>();
            ClientId::Address(client.and_then(|client| client.address))
        }
    }
}
