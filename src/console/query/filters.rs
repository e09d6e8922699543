//! The filters of a list. A filter that cannot be read is an error at its control, and the list is empty: it must not show rows
//! that the filter may exclude.

use axum::http::StatusCode;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::Query;
use crate::console::{error::ConsoleError, form::with_point};

/// Characters of a parameter that an error quotes.
const QUOTED: usize = 40;

impl Query {
    /// Reads a filter; `None` if it is absent. If `parse` fails, the error of the filter says what is expected.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.get(name)?;
        let read = parse(text);
        if read.is_none() {
            let quoted: String = text.chars().take(QUOTED).collect();
            let error = format!("“{quoted}” cannot be read: {expected}.");
            self.errors.push((name, error));
        }
        read
    }

    /// Reads a filter by an id.
    pub fn read_id(&mut self, name: &'static str) -> Option<i64> {
        self.read(name, "choose one that is offered", |text| text.parse().ok())
    }

    /// Reads a filter that is one of a few words.
    pub fn read_choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.read(name, "choose one that is offered", |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen.map(|(_, choice)| *choice)
        })
    }

    /// Reads the filter by activity.
    pub fn read_activity(&mut self) -> Option<bool> {
        self.read_choice("state", &[("active", true), ("inactive", false)])
    }

    /// Reads a filter by a price, which may have a decimal comma.
    pub fn read_price(&mut self, name: &'static str) -> Option<Decimal> {
        self.read(name, "write an amount like 50.00", |text| {
            with_point(text).parse().ok()
        })
    }

    /// Reads a filter by a day of the years 1 to 9999, which PostgreSQL supports.
    pub fn read_day(&mut self, name: &'static str) -> Option<NaiveDate> {
        self.read(name, "write a day like 2026-11-30", |text| {
            let day: NaiveDate = text.parse().ok()?;
            (1..=9999).contains(&day.year()).then_some(day)
        })
    }

    /// Reads a filter by a timestamp.
    pub fn read_moment(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        self.read(name, "write a moment like 2026-11-30T10:00:00Z", |text| {
            let moment: DateTime<Utc> = text.parse().ok()?;
            (1..=9999).contains(&moment.year()).then_some(moment)
        })
    }

    /// The error of a parameter; blank if there is none.
    pub fn error(&self, name: &str) -> &str {
        let error = self.errors.iter().find(|(wrong, _)| *wrong == name);
        error.map(|(_, error)| error.as_str()).unwrap_or_default()
    }

    /// Whether a parameter could not be read.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// All errors: some parameters have no control that could show theirs.
    pub fn refusal(&self) -> String {
        let errors = self.errors.iter().map(|(name, error)| format!("{name}: {error}"));
        errors.collect::<Vec<_>>().join(" ")
    }

    /// Reads the rows of a list; none if a filter cannot be read.
    pub async fn rows<T: Default>(&self, read: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        if self.has_errors() {
            return Ok(T::default());
        }
        read.await
    }

    /// Rejects the request if a filter cannot be read, where no control could show the error.
    pub fn require_readable(&self) -> Result<(), ConsoleError> {
        if self.has_errors() {
            return Err(ConsoleError::Api(StatusCode::BAD_REQUEST, self.refusal()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_filter_is_reported_under_its_name() {
        let mut query = Query::from("a=7&b=x&c=99999999999999999999&d=+&state=off&page=x&start=2");
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|name| query.read_id(name)),
            [Some(7), None, None, None, None]
        );
        assert_eq!(query.read_activity(), None);
        let wrong = |name: &&str| !query.error(name).is_empty();
        let names = ["a", "b", "c", "d", "e", "state", "page", "start"];
        let wrong: Vec<&str> = names.into_iter().filter(wrong).collect();
        assert_eq!(wrong, ["b", "c", "state", "page"]);
        assert_eq!(
            query.error("b"),
            "“x” cannot be read: choose one that is offered."
        );
    }

    #[test]
    fn prices_days_and_timestamps_have_one_format_each() {
        for (text, price) in [
            ("50.00", true),
            ("-5", true),
            ("50,00", true),
            ("1,000.00", false),
            ("1e400", false),
            ("NaN", false),
        ] {
            let query = format!("p={text}");
            assert_eq!(
                Query::from(query.as_str()).read_price("p").is_some(),
                price,
                "{text}"
            );
        }
        for (text, day) in [
            ("2026-11-30", true),
            ("2026-13-01", false),
            ("30.11.2026", false),
            ("99999-01-01", false),
        ] {
            let query = format!("d={text}");
            assert_eq!(Query::from(query.as_str()).read_day("d").is_some(), day, "{text}");
        }
        for (text, moment) in [
            ("2026-11-30T10:00:00Z", true),
            ("2026-11-30", false),
            ("yesterday", false),
        ] {
            let query = format!("m={text}");
            assert_eq!(
                Query::from(query.as_str()).read_moment("m").is_some(),
                moment,
                "{text}"
            );
        }
    }

    #[test]
    fn long_value_is_shortened_in_the_error() {
        let long = format!("store={}", "x".repeat(5000));
        let mut query = Query::from(long.as_str());
        assert_eq!(query.read_id("store"), None);
        assert!(query.error("store").chars().count() < 100);
    }
}
