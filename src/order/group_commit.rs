//! Group commit: orders that arrive while a transaction is running are placed together in the next one.
//!
//! There is no timer. An idle server places an order at once; a busy one shares locks, round trips and the commit among all
//! orders that arrived meanwhile. All orders of a store go through one lane, and a lane runs one transaction at a time, so that
//! orders within a process never compete for a product. A lane decides each order that it accepted, also if the client has
//! disconnected, and replies only after the commit.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{
    backlog::{Admission, QueuedOrder},
    error::{PlaceError, PlaceResult},
    lane::Lane,
    limits::Limits,
    model::NewOrder,
};
use crate::{db::PlacementPool, idempotency::KeyedRequest};

/// Places orders through lanes. Clones share the lanes.
#[derive(Clone)]
pub struct GroupCommit {
    lanes: Arc<[LaneSender]>,
}

impl GroupCommit {
    /// Starts the lanes, which end after the last clone is dropped and all waiting orders are decided. Must be called within
    /// a Tokio runtime.
    pub fn start(placement: &PlacementPool, limits: Limits) -> Self {
        let lanes = (0..limits.lanes.max(1)).map(|_| LaneSender::start(placement.clone(), limits));
        Self {
            lanes: lanes.collect(),
        }
    }

    /// Places an order, together with others that wait in its lane; orders of a store in the sequence of their arrival. With a
    /// key it is placed once. Callers must not place two orders with the same key at a time.
    pub async fn place(&self, order: NewOrder, key: Option<KeyedRequest>) -> PlaceResult {
        let reply = self.lane_of(order.store_id).enqueue(order, key)?;
        // A lane always replies, unless the runtime is shutting down.
        reply.await.unwrap_or(Err(PlaceError::Unavailable))
    }

    fn lane_of(&self, store: i64) -> &LaneSender {
        // Ids of stores are consecutive, which spreads them evenly.
        let lane = store.unsigned_abs() % self.lanes.len() as u64;
        &self.lanes[usize::try_from(lane).unwrap_or(0)]
    }
}

/// Adds orders to the queue of a lane.
struct LaneSender {
    queue: mpsc::Sender<QueuedOrder>,
    admission: Arc<Admission>,
}

impl LaneSender {
    fn start(placement: PlacementPool, limits: Limits) -> Self {
        let (queue, received) = mpsc::channel(limits.queue_size.max(1));
        let admission = Arc::new(Admission::new(limits.queue_size));
        tokio::spawn(Lane::new(placement, received, admission.clone(), limits).run());
        Self { queue, admission }
    }

    fn enqueue(
        &self,
        order: NewOrder,
        key: Option<KeyedRequest>,
    ) -> Result<oneshot::Receiver<PlaceResult>, PlaceError> {
        if !self.admission.admit(order.store_id) {
            return Err(PlaceError::Busy);
        }
        let (reply, received) = oneshot::channel();
        // The channel has room for every admitted order.
        self.queue
            .try_send(QueuedOrder { order, key, reply })
            .map_err(|_| PlaceError::Unavailable)?;
        Ok(received)
    }
}
