//! Formats timestamps, numbers and amounts for pages.

use std::{borrow::Borrow, fmt};

use chrono::{DateTime, Utc};

use crate::{money::Money, timestamp::Timestamp};

/// A timestamp as HTML, in UTC; a script converts it to the zone of the viewer. Its title has the exact UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub DateTime<Utc>);

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.0)
    }
}

impl From<DateTime<Utc>> for Moment {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, title) = (
            self.0.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
            self.0.format("%Y-%m-%d %H:%M:%S%.6f UTC"),
        );
        let text = self.0.format("%-d %b %Y, %H:%M UTC");
        write!(f, r#"<time datetime="{exact}" title="{title}">{text}</time>"#)
    }
}

/// A timestamp for templates, which pass references.
pub fn moment(moment: &DateTime<Utc>) -> Moment {
    Moment(*moment)
}

/// The HTML consists of digits and month names.
impl askama::filters::HtmlSafe for Moment {}

/// A number with separated thousands: `1,234,567`. Templates pass references.
pub fn count(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount with separated thousands: `1,234.50`.
pub fn amount(amount: impl Borrow<Money>) -> String {
    let text = amount.borrow().to_string();
    let (whole, places) = text.split_once('.').unwrap_or((&text, "00"));
    // An amount beyond 64 bits is shown without separators.
    whole
        .parse::<i64>()
        .map_or_else(|_| text.clone(), |whole| format!("{}.{places}", count(whole)))
}

/// A change of a quantity, with its sign: `+5`, `−3`.
pub fn delta(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    if number > 0 {
        format!("+{}", count(number))
    } else {
        count(number)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
        let shown = [0, 7, 999, 1000, -1_234_567].map(count);
        assert_eq!(shown, ["0", "7", "999", "1,000", "−1,234,567"]);
        assert_eq!([3, -3, 0].map(delta), ["+3", "−3", "0"]);
        let amounts = [0, 123_450, 123_456_789].map(|cents| amount(Money(Decimal::new(cents, 2))));
        assert_eq!(amounts, ["0.00", "1,234.50", "1,234,567.89"]);
    }

    #[test]
    fn timestamp_shows_its_exact_utc_time_in_the_title() {
        let moment = Moment(DateTime::from_timestamp(1_705_314_600, 120_000_000).unwrap());
        assert_eq!(
            moment.to_string(),
            "<time datetime=\"2024-01-15T10:30:00.120000Z\" title=\"2024-01-15 10:30:00.120000 UTC\">15 Jan 2024, 10:30 UTC</time>"
        );
    }
}
