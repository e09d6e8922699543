//! Orders as they come: one task of a process looks for new ones while anybody is listening, and tells all who are.

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
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, broadcast, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::queries::{self, Filter, Range, Row};
use crate::console::{
    error::ConsoleError,
    operator::Operator,
    query::Query,
    session::Visitor,
    state::Console,
    stream_guard::{StreamGuard, StreamLimit, StreamPermit},
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An order may commit so much later than another with a higher id.
const LATE: Duration = Duration::from_secs(15);
/// Orders of a look that are told of: of more, nobody could read the rest.
const MOST_NEW: usize = 500;
/// Orders that are remembered when the looking begins: of those before, none is still to commit.
const REMEMBERED: i64 = 1000;
/// Who listens at a time.
const LISTENERS: usize = 200;
/// And with one account: windows of its browsers.
const OF_ACCOUNT: usize = 20;
/// A stream says so often that it lives, before any proxy thinks that it does not.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Between two looks at whether the listener may still listen.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How soon a browser comes back whose stream has ended. It is asked then who it is.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

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

/// Who tells of new orders. Clones are the same one.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    places: StreamLimit,
    /// Of the task that looks, while there is one.
    news: Mutex<Option<broadcast::Sender<Arc<Vec<News>>>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self(Arc::new(Inner {
            places: StreamLimit::new(LISTENERS, OF_ACCOUNT),
            news: Mutex::default(),
        }))
    }
}

impl Live {
    /// Listens from now on; the first one has the looking begin.
    async fn listen(
        &self,
        db: &PgPool,
        stop: &CancellationToken,
    ) -> sqlx::Result<broadcast::Receiver<Arc<Vec<News>>>> {
        let mut news = self.0.news.lock().await;
        if let Some(sender) = &*news {
            return Ok(sender.subscribe());
        }
        let known = Known::begin(db).await?;
        let (sender, receiver) = broadcast::channel(16);
        *news = Some(sender.clone());
        tokio::spawn(look(self.clone(), db.clone(), known, sender, stop.clone()));
        Ok(receiver)
    }

    /// Stops polling if no stream is open. The next stream starts it again.
    async fn ends(&self, sender: &broadcast::Sender<Arc<Vec<News>>>) -> bool {
        let mut news = self.0.news.lock().await;
        let is_unused = sender.receiver_count() == 0;
        if is_unused {
            *news = None;
        }
        is_unused
    }
}

async fn look(
    live: Live,
    db: PgPool,
    mut known: Known,
    sender: broadcast::Sender<Arc<Vec<News>>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if live.ends(&sender).await {
            return;
        }
        match known.new_orders(&db).await {
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => drop(sender.send(Arc::new(rows.into_iter().filter_map(news).collect()))),
            // The next look finds what this one missed.
            Err(error) => tracing::debug!(%error, "new orders could not be looked for"),
        }
    }
}

fn news(row: Row) -> Option<News> {
    let html = Fresh { row: &row }.render().ok()?;
    Some(News { row, html })
}

/// Which orders were seen. Orders get their ids before they commit, so one may turn up below others that were seen before.
struct Known {
    /// All that is still to come is above.
    floor: i64,
    seen: HashMap<i64, Instant>,
}

impl Known {
    /// Knows all that there is.
    async fn begin(db: &PgPool) -> sqlx::Result<Self> {
        let latest = queries::latest_ids(db, REMEMBERED).await?;
        let all = (latest.len() as u64) < REMEMBERED.unsigned_abs();
        let floor = latest.last().filter(|_| !all).copied().unwrap_or(0);
        let now = Instant::now();
        let seen = latest.into_iter().map(|id| (id, now)).collect();
        Ok(Self { floor, seen })
    }

    /// Orders that were not seen before, the oldest first.
    async fn new_orders(&mut self, db: &PgPool) -> sqlx::Result<Vec<Row>> {
        let above = queries::ids_above(db, self.floor).await?;
        let mut new: Vec<i64> = above
            .into_iter()
            .filter(|id| !self.seen.contains_key(id))
            .collect();
        let shown = new.split_off(new.len().saturating_sub(MOST_NEW));
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
    State(db): State<PgPool>,
    Extension(live): Extension<Live>,
) -> Result<Response, ConsoleError> {
    let Some(place) = live.0.places.take(operator.account_id) else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let filter = Filter::read(&db, &mut query, &operator.caller.grant.stores).await?;
    let since = query.read_id("since");
    query.require_readable()?;
    let draining = console.app.stop.draining.clone();
    let news = live.listen(&db, &draining).await?;
    // Orders came since the page was made, or while the browser was away.
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let missed = match last.or(since) {
        Some(last) => missed(&db, &filter, last).await?,
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
    let guard = StreamGuard::of(db, visitor, &operator);
    tokio::spawn(listener.pass_on(guard, draining));
    let keep_alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    // A proxy that gathers what comes would keep it to itself.
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

async fn missed(db: &PgPool, filter: &Filter, last: i64) -> sqlx::Result<Vec<News>> {
    let range = Range::of(db, filter).await?.before(last, false);
    let ids = queries::ids(db, filter, range, false, 50).await?;
    let rows = queries::rows(db, &ids, true).await?;
    Ok(rows.into_iter().filter_map(news).collect())
}

/// When the session has ended, or the account is granted something else.
async fn ends(guard: &StreamGuard) {
    loop {
        sleep(ASK_EVERY).await;
        match guard.holds().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "whether a session goes on could not be asked"),
        }
    }
}

/// A stream that somebody listens to.
struct Listener {
    filter: Filter,
    missed: Vec<News>,
    news: broadcast::Receiver<Arc<Vec<News>>>,
    events: mpsc::Sender<Event>,
    /// Of the orders that it was told of.
    highest: i64,
    _place: StreamPermit,
}

impl Listener {
    /// Until the listener goes or may not listen any more, or the server stops.
    async fn pass_on(mut self, guard: StreamGuard, draining: CancellationToken) {
        let hello = Event::default().retry(COME_BACK_AFTER).comment("listening");
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
                // Who is slow goes on with the latest.
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
