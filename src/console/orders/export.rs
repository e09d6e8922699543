//! `/admin/orders/export/`: the list as a CSV file, read and sent a portion at a time.

use std::io;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, stream};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::queries::{self, Filter, Range, Row};
use crate::{
    console::{
        error::ConsoleError,
        operator::Operator,
        query::Query,
        session::Visitor,
        state::Console,
        stream_guard::{StreamGuard, StreamLimit, StreamPermit},
    },
    db,
    timestamp::Timestamp,
};

/// Orders that are read at a time.
const PORTION: i64 = 1000;

/// Excel takes a file for the machine's own encoding without it.
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

/// Exports at a time, in all and of one account: each of them keeps a connection to the database busy.
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
    State(db): State<PgPool>,
    Extension(Exports(places)): Extension<Exports>,
) -> Result<Response, ConsoleError> {
    let Some(place) = places.take(operator.account_id) else {
        let reason = "Other exports are under way. Try again when they have ended.";
        return Err(ConsoleError::Api(
            StatusCode::SERVICE_UNAVAILABLE,
            reason.to_owned(),
        ));
    };
    let filter = Filter::read(&db, &mut query, &operator.caller.grant.stores).await?;
    query.require_readable()?;
    let range = Range::of(&db, &filter).await?;
    let name = format!(
        "attachment; filename=\"orders-{}.csv\"",
        db::now(&db).await?.format("%Y-%m-%d")
    );
    let reading = Reading {
        _place: place,
        guard: StreamGuard::of(db.clone(), visitor, &operator),
        db,
        filter,
        range,
        draining: console.app.stop.draining.clone(),
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
    db: PgPool,
    filter: Filter,
    range: Range,
    draining: CancellationToken,
}

/// What comes next.
enum Step {
    Head,
    From(Option<i64>),
    Over,
}

fn portions(reading: Reading) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((reading, Step::Head), async |(reading, step)| match step {
        Step::Head => {
            let head = [BYTE_ORDER_MARK.as_bytes(), &line(COLUMNS)?].concat();
            Ok(Some((head.into(), (reading, Step::From(None)))))
        }
        Step::From(start) => {
            let (bytes, step) = reading.portion(start).await?;
            Ok(Some((bytes, (reading, step))))
        }
        Step::Over => Ok(None),
    })
}

impl Reading {
    async fn portion(&self, start: Option<i64>) -> io::Result<(Bytes, Step)> {
        // Broken off rather than ended, so that nobody takes a part for the whole.
        if self.draining.is_cancelled() {
            return Err(io::Error::other("the server stops"));
        }
        if !self.guard.holds().await.map_err(io::Error::other)? {
            return Err(io::Error::other("whoever asked may not have it any more"));
        }
        let ascending = self.filter.oldest_first;
        let range = self.range.starting(start, ascending);
        let mut ids = queries::ids(&self.db, &self.filter, range, ascending, PORTION + 1)
            .await
            .map_err(io::Error::other)?;
        let more = ids.len() as u64 > PORTION.unsigned_abs();
        let step = match ids.last() {
            Some(next) if more => Step::From(Some(*next)),
            _ => Step::Over,
        };
        if more {
            ids.pop();
        }
        let rows = queries::rows(&self.db, &ids, ascending)
            .await
            .map_err(io::Error::other)?;
        Ok((written(&rows)?.into(), step))
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

/// What a spreadsheet takes for the beginning of a formula: full-width signs too, where a keyboard of East Asia writes them.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A text that no spreadsheet takes for a formula.
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
