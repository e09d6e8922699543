//! The stock history of a stock row, and the line of its quantity.

use chrono::{DateTime, Utc};

use super::queries::record::{self, Movement};
use crate::{
    console::{
        chart,
        query::{PAGE_SIZE, Pager, Query, split_page},
    },
    db::ReadPool,
};

/// Movements that the line is drawn through, at most.
const DRAWN: i64 = 200;

impl Movement {
    /// What happened, in a word.
    pub fn what(&self) -> &'static str {
        match self.kind.as_str() {
            "ORDER" => "Sold",
            "INITIAL" => "Opening stock",
            "RETURN" => "Returned",
            "REMOVAL" => "Deleted",
            "CANCEL" => "Cancelled",
            "FULFILL" => "Handed over",
            "TRANSFER_OUT" => "Transferred out",
            "TRANSFER_IN" => "Transferred in",
            "COUNT" => "Counted",
            "IMPORT" => "Imported",
            "REVERSAL" => "Reversal",
            _ => "Adjusted",
        }
    }
}

/// A page of the history, the latest first. It begins with the movement that `start` names.
pub async fn page(db: &ReadPool, stock: i64, query: &Query) -> sqlx::Result<(Vec<Movement>, Pager)> {
    let start = query.id("start");
    let rows = record::movements(db, stock, start.unwrap_or(i64::MAX), PAGE_SIZE + 1);
    let mut rows = query.rows(rows).await?;
    let next = split_page(&mut rows).map(|movement| movement.id);
    let before = match start {
        Some(start) => Some(record::ids_after(db, stock, start, PAGE_SIZE).await?),
        None => None,
    };
    let mut pager = query.keyed_pager(next, before.as_deref(), None);
    for link in [&mut pager.previous, &mut pager.next] {
        if link.contains("start=") {
            link.push_str("#ledger");
        }
    }
    Ok((rows, pager))
}

/// The quantity after each of the latest movements, as a line.
#[derive(Debug)]
pub struct Line {
    /// As SVG has it.
    pub path: String,
    /// How many movements it goes through, in words.
    pub movements: String,
    /// The highest quantity.
    pub top: i64,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// The quantity at the left end.
    pub first: i64,
    /// The quantity at the right end.
    pub last: i64,
}

/// Draws the line; there is none without movements.
pub async fn line(db: &ReadPool, stock: i64) -> sqlx::Result<Option<Line>> {
    let points = record::points(db, stock, DRAWN).await?;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(None);
    };
    let top = points.iter().map(|point| point.quantity_after).max().unwrap_or(0);
    let x = |at: DateTime<Utc>| (at - first.created_at).as_seconds_f64().max(0.0);
    let drawn = points
        .iter()
        .map(|point| (x(point.created_at), point.quantity_after));
    // The line goes on until now.
    let drawn: Vec<(f64, i64)> = drawn.chain([(x(last.now), last.quantity_after)]).collect();
    Ok(Some(Line {
        path: chart::steps(&drawn, top),
        movements: match points.len() {
            1 => "1 movement".to_owned(),
            many => format!("the latest {many} movements"),
        },
        top,
        from: first.created_at,
        to: last.now,
        first: first.quantity_after,
        last: last.quantity_after,
    }))
}
