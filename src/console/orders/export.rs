//! `/admin/orders/export/`: the list as a CSV file, read and sent in portions.

use std::io;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt, future::ready, stream};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

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
    http::Reads,
    timespan::Range,
    timestamp::Timestamp,
};

/// Orders that are read at a time.
const PORTION: i64 = 1000;

/// Without it Excel reads the file in the encoding of the machine.
const BYTE_ORDER_MARK: &str = "\u{feff}";

const COLUMNS: [&str; 8] = [
    "order",
    "store_id",
    "store",
    "status",
    "items",
    "total",
    "placed_at",
    "rejection_reason",
];

/// Limits the exports at a time, in all and of one account: each keeps a database connection busy.
#[derive(Clone)]
pub struct Exports(StreamLimit);

impl Default for Exports {
    fn default() -> Self {
        Self(StreamLimit::new(4, 2))
    }
}

pub async fn download(
    operator: Operator,
    visitor: Visitor,
    mut query: Query,
    State(console): State<Console>,
    Reads(db): Reads,
    Extension(Exports(places)): Extension<Exports>,
) -> Result<Response, ConsoleError> {
    let Some(place) = places.take(operator.account_id) else {
        let reason = "Too many exports are running. Try again in a minute.";
        return Err(ConsoleError::Api(
            StatusCode::SERVICE_UNAVAILABLE,
            reason.to_owned(),
        ));
    };
    let filter = Filter::read(&db, &mut query, &operator.caller.grant.stores).await?;
    query.require_readable()?;
    let range = filter.range(&db).await?;
    let name = format!(
        "attachment; filename=\"orders-{}.csv\"",
        db::now(&db).await?.format("%Y-%m-%d")
    );
    let reading = Reading {
        _place: place,
        guard: StreamGuard::of(console.app.database.pool.clone(), visitor, &operator),
        db,
        primary: console.app.database.reads.clone(),
        filter,
        range,
        draining: console.app.stop.draining.clone(),
        span: Span::current(),
    };
    Ok((
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, name),
        ],
        Body::from_stream(portions(reading)),
    )
        .into_response())
}

struct Reading {
    _place: StreamPermit,
    guard: StreamGuard,
    db: ReadPool,
    primary: ReadPool,
    filter: Filter,
    range: Range,
    draining: CancellationToken,
    /// The span of the request, which the response outlives.
    span: Span,
}

fn portions(reading: Reading) -> impl Stream<Item = io::Result<Bytes>> {
    let head = line(COLUMNS).map(|line| [BYTE_ORDER_MARK.as_bytes(), &line].concat().into());
    let first = (reading, Some(None));
    let rows = stream::try_unfold(first, async |(reading, start)| {
        let Some(start) = start else { return Ok(None) };
        let (bytes, next) = reading.portion(start).instrument(reading.span.clone()).await?;
        Ok(Some((bytes, (reading, next.map(Some)))))
    });
    stream::once(ready(head)).chain(rows)
}

impl Reading {
    /// The portion that begins with the order `start`, and the first order of the next portion.
    async fn portion(&self, start: Option<i64>) -> io::Result<(Bytes, Option<i64>)> {
        // An aborted download is not taken for a complete file.
        if self.draining.is_cancelled() {
            return Err(io::Error::other("the server stops"));
        }
        if !self.guard.holds().await.map_err(io::Error::other)? {
            return Err(io::Error::other("the session has ended or lost its access"));
        }
        let range = self.range.starting(start, self.filter.oldest_first);
        let rows = match self.read(&self.db, range).await {
            // A replica may go away during a long download.
            Err(error) => {
                tracing::debug!(%error, "reading a portion of the export again from the primary");
                self.read(&self.primary, range).await
            }
            read => read,
        };
        let (rows, next) = rows.map_err(io::Error::other)?;
        Ok((written(&rows)?.into(), next))
    }

    /// The rows of a portion, and the first order of the next portion.
    async fn read(&self, db: &ReadPool, range: Range) -> sqlx::Result<(Vec<Row>, Option<i64>)> {
        let ascending = self.filter.oldest_first;
        let mut ids = queries::ids(db, &self.filter, range, ascending, PORTION + 1).await?;
        let more = ids.len() as u64 > PORTION.unsigned_abs();
        let next = if more { ids.pop() } else { None };
        Ok((queries::rows(db, &ids, ascending).await?, next))
    }
}

fn written(rows: &[Row]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(line([
            &row.id.to_string(),
            &row.store_id.to_string(),
            &harmless(&row.store_name),
            &row.status,
            &row.item_count.to_string(),
            &row.total_amount.to_string(),
            &Timestamp(row.created_at).to_string(),
            &harmless(&row.rejection_reason),
        ])?);
    }
    Ok(lines)
}

fn line<T: AsRef<[u8]>>(fields: impl IntoIterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(fields).map_err(io::Error::other)?;
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

/// Characters that begin a formula in spreadsheets, with the full-width forms of East Asian keyboards.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Quotes a text that a spreadsheet would take for a formula.
fn harmless(text: &str) -> String {
    if text.starts_with(FORMULA) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_escaped_in_csv() {
        for sign in FORMULA {
            assert_eq!(harmless(&format!("{sign}1+1")), format!("'{sign}1+1"));
        }
        for plain in ["plain", "a=1", "", "é"] {
            assert_eq!(harmless(plain), plain);
        }
    }
}
