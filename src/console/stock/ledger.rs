//! The ledger of a stock row, and the line of its quantity.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::console::{
    chart,
    query::{PAGE_SIZE, Pager, Query},
};

/// Movements that the line is drawn through, at most.
const DRAWN: i64 = 200;

/// A change of the quantity.
#[derive(Debug)]
pub struct Movement {
    /// Its id.
    pub id: i64,
    kind: String,
    /// Pieces that came, or went where it is negative.
    pub delta: i64,
    /// What there was then.
    pub quantity_after: i64,
    /// The order that it was for.
    pub order_id: Option<i64>,
    /// Who made it, by name where that is known.
    pub actor: Option<String>,
    /// What it was for.
    pub reason: Option<String>,
    /// When it was.
    pub created_at: DateTime<Utc>,
}

impl Movement {
    /// What happened, in a word.
    pub fn what(&self) -> &'static str {
        match self.kind.as_str() {
            "ORDER" => "Sold",
            "INITIAL" => "First stock",
            "RETURN" => "Given back",
            "REMOVAL" => "Deleted",
            _ => "Adjusted",
        }
    }
}

/// A page of the ledger, the latest first. It begins with the movement that `start` names.
pub async fn page(db: &PgPool, stock: i64, query: &Query) -> sqlx::Result<(Vec<Movement>, Pager)> {
    let start = query.id("start");
    let page = if start.is_some() { query.page() } else { 1 };
    let rows = movements(db, stock, start.unwrap_or(i64::MAX), PAGE_SIZE + 1);
    let mut rows = query.rows(rows).await?;
    let next = rows
        .get(usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX))
        .map(|row| row.id);
    let mut pager = query.pager(&mut rows, None);
    let link = |page: i64, start: i64| format!("{}&start={start}#ledger", query.with("page", page));
    pager.page = page;
    pager.next = next.map_or(String::new(), |next| link(page + 1, next));
    pager.previous = String::new();
    if let Some(start) = start {
        let before = sqlx::query_scalar!(
            "select id from stock_movement where inventory_id = $1 and id > $2 order by id limit $3",
            stock,
            start,
            PAGE_SIZE
        )
        .fetch_all(db)
        .await?;
        pager.previous = match before.last() {
            Some(first) if page > 2 => link(page - 1, *first),
            _ => query.with("page", ""),
        };
    }
    Ok((rows, pager))
}

async fn movements(
    db: impl PgExecutor<'_>,
    stock: i64,
    from: i64,
    limit: i64,
) -> sqlx::Result<Vec<Movement>> {
    sqlx::query_as!(
        Movement,
        r#"select m.id, m.kind, m.delta::bigint as "delta!", m.quantity_after::bigint as "quantity_after!", m.order_id,
               coalesce(a.username, k.name, m.actor) as actor, m.reason, m.created_at
           from stock_movement m
               left join account a on m.actor = 'account:' || a.id
               left join api_key k on m.actor = 'key:' || k.id
           where m.inventory_id = $1 and m.id <= $2 order by m.id desc limit $3"#,
        stock,
        from,
        limit
    )
    .fetch_all(db)
    .await
}

/// The quantity after each of the latest movements, as a line.
#[derive(Debug)]
pub struct Line {
    /// As SVG has it.
    pub path: String,
    /// How many movements it goes through, in words.
    pub movements: String,
    /// The most that there was.
    pub top: i64,
    /// When it begins.
    pub from: DateTime<Utc>,
    /// When it ends.
    pub to: DateTime<Utc>,
    /// What there was first.
    pub first: i64,
    /// What there was last.
    pub last: i64,
}

/// Draws the line; there is none without movements.
pub async fn line(db: impl PgExecutor<'_>, stock: i64) -> sqlx::Result<Option<Line>> {
    let mut points = sqlx::query!(
        r#"select created_at, quantity_after, now() as "now!"
           from stock_movement where inventory_id = $1 order by id desc limit $2"#,
        stock,
        DRAWN
    )
    .fetch_all(db)
    .await?;
    points.reverse();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(None);
    };
    let top = points.iter().map(|point| point.quantity_after).max().unwrap_or(0);
    let x = |at: DateTime<Utc>| (at - first.created_at).as_seconds_f64().max(0.0);
    let mut drawn: Vec<(f64, i64)> = points
        .iter()
        .map(|point| (x(point.created_at), i64::from(point.quantity_after)))
        .collect();
    // It has stayed so since.
    drawn.push((x(last.now), last.quantity_after.into()));
    Ok(Some(Line {
        path: chart::steps(&drawn, top.into()),
        movements: match points.len() {
            1 => "1 movement".to_owned(),
            many => format!("the latest {many} movements"),
        },
        top: top.into(),
        from: first.created_at,
        to: last.now,
        first: first.quantity_after.into(),
        last: last.quantity_after.into(),
    }))
}
