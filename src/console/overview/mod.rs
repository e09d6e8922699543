//! `/admin/`: the overview.

mod attention;
mod hourly;
mod statistics;

use askama::Template;
use axum::{Extension, Router, extract::State, response::Response, routing::get};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    chart::{self, Bar},
    error::ConsoleError,
    format::{amount, count},
    low::LowStock,
    operator::Operator,
    orders::{
        live_link,
        queries::{self, Filter, Row},
    },
    page::{Frame, render},
    query::Query,
    state::Console,
};
use crate::{
    auth::{Scope, Stores},
    db::{self, ReadPool},
    http::Reads,
    worker::{self, Owed},
};
use attention::{Concern, Jobs};
use hourly::{Hours, Orders, Recent};

/// Orders in the list of the latest.
const LATEST: i64 = 10;

#[derive(Template)]
#[template(path = "overview/page.html")]
struct Page {
    frame: Frame,
    tiles: Vec<Tile>,
    concerns: Vec<Concern>,
    hours: Vec<Hour>,
    top: i64,
    latest: Vec<Row>,
    live: String,
    may_order: bool,
}

/// A figure, with a link to its rows.
struct Tile {
    label: &'static str,
    value: String,
    link: String,
    /// `bad`, `warn` or nothing.
    class: &'static str,
}

/// An hour of the chart.
struct Hour {
    at: DateTime<Utc>,
    orders: Orders,
    confirmed: Bar,
    rejected: Bar,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/", get(show))
        .layer(Extension(Hours::default()))
}

async fn show(
    operator: Operator,
    State(console): State<Console>,
    Reads(db): Reads,
    Extension(hours): Extension<Hours>,
) -> Result<Response, ConsoleError> {
    let (now, stores) = (db::now(&db).await?, &operator.caller.grant.stores);
    // Both at once: without Redis the page waits no longer than its timeout.
    let (known, jobs) = tokio::join!(known(&db, now, stores, &hours), jobs(&operator, &console));
    let (known, jobs) = (known?, jobs?);
    let concerns =
        attention::concerns(&db, jobs.as_ref(), &known.low, stores, now - TimeDelta::days(1)).await?;
    let (hours, top) = drawn(&known.recent);
    Ok(render(&Page {
        frame: Frame::new(&operator, "/admin/", "Overview"),
        tiles: tiles(now, &known, jobs.as_ref()),
        concerns,
        hours,
        top,
        live: live_link(&Query::default(), &known.latest),
        latest: known.latest,
        may_order: operator.may(Scope::OrdersWrite),
    }))
}

/// The queues and the pending rows; `None` for operators who are bound to stores: they are about all orders.
async fn jobs(operator: &Operator, console: &Console) -> sqlx::Result<Option<(Option<Jobs>, Owed)>> {
    if !operator.sees_jobs() {
        return Ok(None);
    }
    let db = &console.app.database.pool;
    let (jobs, owed) = tokio::join!(attention::jobs(&console.queues), worker::owed(db));
    Ok(Some((jobs, owed?)))
}

/// The figures of PostgreSQL.
struct Known {
    recent: Recent,
    latest: Vec<Row>,
    low: LowStock,
}

async fn known(db: &ReadPool, now: DateTime<Utc>, stores: &Stores, hours: &Hours) -> sqlx::Result<Known> {
    let filter = Filter {
        stores: stores.as_sql_param(),
        ..Filter::default()
    };
    let range = filter.range(db).await?;
    let ids = queries::ids(db, &filter, range, false, LATEST).await?;
    Ok(Known {
        recent: hours.read(db, now, stores).await?,
        latest: queries::rows(db, &ids, false).await?,
        low: LowStock::count(db, stores.as_sql_param().as_deref()).await?,
    })
}

fn tiles(now: DateTime<Utc>, known: &Known, jobs: Option<&(Option<Jobs>, Owed)>) -> Vec<Tile> {
    let day = |moment: DateTime<Utc>| moment.format("%Y-%m-%d").to_string();
    let today = format!("/admin/orders/?from={0}&to={0}", day(now));
    let recent = &known.recent;
    let first = recent.hours.first().map_or(now, |(hour, _)| *hour);
    let tile = |label, value, link: String, class| Tile {
        label,
        value,
        link,
        class,
    };
    let unless_none = |value: &str, class| if value == "0" { "" } else { class };
    let (low, out) = (known.low.low(), known.low.out());
    let mut tiles = vec![
        tile(
            "Orders today (UTC)",
            count(recent.today.placed),
            today.clone(),
            "",
        ),
        tile(
            "Revenue today",
            amount(recent.today.revenue()),
            format!("{today}&status=CONFIRMED"),
            "",
        ),
        tile(
            "Rejected in 24 h",
            Some(recent.all.reject_rate())
                .filter(|rate| !rate.is_empty())
                .unwrap_or("–".into()),
            format!(
                "/admin/orders/?status=REJECTED&{}={}",
                queries::SINCE,
                first.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            "",
        ),
        tile(
            "Low stock",
            low.clone(),
            "/admin/stock/?state=low".into(),
            unless_none(&low, "warn"),
        ),
        tile(
            "Out of stock",
            out.clone(),
            "/admin/stock/?state=out".into(),
            unless_none(&out, "bad"),
        ),
    ];
    if let Some((jobs, owed)) = jobs {
        let dead = dead(*jobs, owed);
        tiles.push(tile(
            "Jobs in the queues",
            jobs.map_or("–".into(), |jobs| shown(jobs.waiting + jobs.running)),
            "/admin/jobs/".into(),
            if jobs.is_none() { "bad" } else { "" },
        ));
        tiles.push(tile(
            "Failed jobs",
            dead.clone(),
            "/admin/jobs/#letters".into(),
            unless_none(&dead, "bad"),
        ));
    }
    tiles
}

/// The number of failed jobs; a lower bound without Redis.
fn dead(jobs: Option<Jobs>, owed: &Owed) -> String {
    let deliveries: i64 = owed.deliveries.iter().map(|depth| depth.dead).sum();
    let in_database = owed.outbox.dead + deliveries;
    match jobs {
        Some(jobs) => shown(jobs.dead.saturating_add(in_database.unsigned_abs())),
        None => format!("{}+", count(in_database)),
    }
}

fn shown(number: u64) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX))
}

fn drawn(recent: &Recent) -> (Vec<Hour>, i64) {
    let parts = |orders: &Orders| (orders.confirmed, orders.rejected);
    let values: Vec<(i64, i64)> = recent.hours.iter().map(|(_, orders)| parts(orders)).collect();
    let sums = recent
        .hours
        .iter()
        .map(|(_, orders)| orders.confirmed + orders.rejected);
    let top = sums.max().unwrap_or(0);
    let bars = chart::stacked(&values, top);
    let hours = recent.hours.iter().zip(bars);
    let hours = hours.map(|((at, orders), (confirmed, rejected))| Hour {
        at: *at,
        orders: *orders,
        confirmed,
        rejected,
    });
    (hours.collect(), top)
}
