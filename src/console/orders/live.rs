//! New orders as server-sent events: while any stream is open, one task of the process polls for orders and broadcasts them.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use tokio::{
    sync::{Mutex, broadcast, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::queries::{self, Filter, Row};
use crate::{
    console::{
        error::ConsoleError,
        operator::Operator,
        query::Query,
        session::Visitor,
        state::Console,
        stream_guard::{StreamGuard, StreamLimit, StreamPermit},
    },
    db::{self, ReadPool},
};

/// The interval of the polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How much later an order may commit than another with a higher id.
const LATE: Duration = Duration::from_secs(15);
/// The most orders of one poll that are sent: an operator cannot read more.
const MOST_ORDERS: usize = 500;
/// Orders that are remembered at the first poll: all before them have committed.
const REMEMBERED_ORDERS: i64 = 1000;
/// Streams at a time.
const STREAMS: usize = 200;
/// Streams of one account, which are windows of its browsers.
const STREAMS_OF_ACCOUNT: usize = 20;
/// The interval of keep-alive comments, shorter than the idle timeouts of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The interval of the checks that the session is still valid.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon a browser reconnects after a stream has ended. It is authenticated then.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// An order that is new.
struct News {
    row: Row,
    /// Its row of the table, as HTML.
    html: String,
}

#[derive(Template)]
#[template(path = "orders/fresh.html")]
struct Fresh<'a> {
    row: &'a Row,
}

/// The streams of new orders. Clones share them.
#[derive(Clone)]
pub struct Live {
    places: StreamLimit,
    /// The channel of the polling task, while there is one.
    news: Arc<Mutex<Option<broadcast::Sender<Batch>>>>,
}

/// The new orders of a poll.
type Batch = Arc<Vec<News>>;

impl Default for Live {
    fn default() -> Self {
        Self {
            places: StreamLimit::new(STREAMS, STREAMS_OF_ACCOUNT),
            news: Arc::default(),
        }
    }
}

impl Live {
    /// Subscribes to new orders; the first subscriber starts the polling task.
    async fn listen(
        &self,
        db: &ReadPool,
        stop: &CancellationToken,
    ) -> sqlx::Result<broadcast::Receiver<Batch>> {
        let mut news = self.news.lock().await;
        if let Some(sender) = &*news {
            return Ok(sender.subscribe());
        }
        let known = Known::begin(db).await?;
        let (sender, receiver) = broadcast::channel(16);
        *news = Some(sender.clone());
        tokio::spawn(poll(self.clone(), db.clone(), known, sender, stop.clone()));
        Ok(receiver)
    }

    /// Stops polling if no stream is open. The next stream starts it again.
    async fn ends(&self, sender: &broadcast::Sender<Batch>) -> bool {
        let mut news = self.news.lock().await;
        let is_unused = sender.receiver_count() == 0;
        if is_unused {
            *news = None;
        }
        is_unused
    }
}

async fn poll(
    live: Live,
    db: ReadPool,
    mut known: Known,
    sender: broadcast::Sender<Batch>,
    stop: CancellationToken,
) {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if live.ends(&sender).await {
            return;
        }
        match db::with_timeout(known.new_orders(&db)).await {
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => drop(sender.send(Arc::new(rows.into_iter().filter_map(news).collect()))),
            // The next poll finds the orders that this one missed.
            Err(error) => tracing::debug!(%error, "cannot poll for new orders"),
        }
    }
}

fn news(row: Row) -> Option<News> {
    let html = Fresh { row: &row }.render().ok()?;
    Some(News { row, html })
}

/// The orders that were seen. An order gets its id before it commits, so it may appear after orders with higher ids.
struct Known {
    /// New orders have higher ids.
    floor: i64,
    seen: HashMap<i64, Instant>,
}

impl Known {
    /// Counts all existing orders as seen.
    async fn begin(db: &ReadPool) -> sqlx::Result<Self> {
        let latest = queries::latest_ids(db, REMEMBERED_ORDERS).await?;
        let all = (latest.len() as u64) < REMEMBERED_ORDERS.unsigned_abs();
        let floor = latest.last().filter(|_| !all).copied().unwrap_or(0);
        let now = Instant::now();
        let seen = latest.into_iter().map(|id| (id, now)).collect();
        Ok(Self { floor, seen })
    }

    /// Orders that were not seen before, the oldest first.
    async fn new_orders(&mut self, db: &ReadPool) -> sqlx::Result<Vec<Row>> {
        let above = queries::ids_above(db, self.floor).await?;
        let mut new: Vec<i64> = above
            .into_iter()
            .filter(|id| !self.seen.contains_key(id))
            .collect();
        let shown = new.split_off(new.len().saturating_sub(MOST_ORDERS));
        let rows = queries::rows(db, &shown, true).await?;
        let now = Instant::now();
        self.seen.extend(new.into_iter().chain(shown).map(|id| (id, now)));
        self.forget(now);
        Ok(rows)
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |since: &Instant| now.duration_since(*since) > LATE;
        let settled = self
            .seen
            .iter()
            .filter(|(_, since)| is_old(since))
            .map(|(id, _)| *id);
        self.floor = settled.fold(self.floor, i64::max);
        let floor = self.floor;
        self.seen.retain(|id, _| *id > floor);
    }
}

/// `/admin/orders/live/`: rows of orders that were placed since, filtered as the list is.
pub async fn stream(
    operator: Operator,
    visitor: Visitor,
    mut query: Query,
    headers: HeaderMap,
    State(console): State<Console>,
    Extension(live): Extension<Live>,
) -> Result<Response, ConsoleError> {
    let Some(place) = live.places.take(operator.account_id) else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let db = &console.app.database.reads;
    let filter = Filter::read(db, &mut query, &operator.caller.grant.stores).await?;
    let since = query.read_id("since");
    query.require_readable()?;
    let draining = console.app.stop.draining.clone();
    let news = live.listen(db, &draining).await?;
    // Orders that were placed since the page was rendered, or while the browser was disconnected.
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let missed = match last.or(since) {
        Some(last) => missed(db, &filter, last).await?,
        None => Vec::new(),
    };
    let (events, stream) = mpsc::channel(16);
    let listener = Listener {
        filter,
        missed,
        news,
        events,
        highest: 0,
        _place: place,
    };
    let guard = StreamGuard::of(console.app.database.pool.clone(), visitor, &operator);
    tokio::spawn(listener.pass_on(guard, draining));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    // Without this header some proxies buffer the events.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    let stream = Sse::new(events_of(stream)).keep_alive(keep_alive);
    Ok((unbuffered, stream).into_response())
}

fn events_of(stream: mpsc::Receiver<Event>) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(stream, async |mut stream| {
        let event = stream.recv().await?;
        Some((Ok(event), stream))
    })
}

async fn missed(db: &ReadPool, filter: &Filter, last: i64) -> sqlx::Result<Vec<News>> {
    let range = filter.range(db).await?.before(last, false);
    let ids = queries::ids(db, filter, range, false, 50).await?;
    let rows = queries::rows(db, &ids, true).await?;
    Ok(rows.into_iter().filter_map(news).collect())
}

/// Returns when the session has ended or the grant of the account has changed.
async fn ends(guard: &StreamGuard) {
    loop {
        sleep(CHECK_INTERVAL).await;
        match guard.holds().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "cannot check the session of a stream"),
        }
    }
}

/// An open stream.
struct Listener {
    filter: Filter,
    missed: Vec<News>,
    news: broadcast::Receiver<Batch>,
    events: mpsc::Sender<Event>,
    /// The highest id of the orders that were sent.
    highest: i64,
    _place: StreamPermit,
}

impl Listener {
    /// Sends orders until the browser disconnects, the session ends, or the server stops.
    async fn pass_on(mut self, guard: StreamGuard, draining: CancellationToken) {
        let hello = Event::default().retry(RECONNECT_AFTER).comment("listening");
        if self.events.send(hello).await.is_err() {
            return;
        }
        let gone = self.events.clone();
        tokio::select! {
            () = self.tell() => {}
            () = gone.closed() => {}
            () = draining.cancelled() => {}
            () = ends(&guard) => {}
        }
    }

    async fn tell(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        for news in &missed {
            if self.send(news).await.is_err() {
                return;
            }
        }
        loop {
            let batch = match self.news.recv().await {
                Ok(batch) => batch,
                // A slow stream goes on with the latest orders.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            for news in batch.iter() {
                let twice = missed.iter().any(|told| told.row.id == news.row.id);
                if !twice && self.filter.takes(&news.row) && self.send(news).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn send(&mut self, news: &News) -> Result<(), ()> {
        self.highest = self.highest.max(news.row.id);
        let event = Event::default()
            .event("order")
            .id(self.highest.to_string())
            .data(&news.html);
        self.events.send(event).await.map_err(drop)
    }
}
