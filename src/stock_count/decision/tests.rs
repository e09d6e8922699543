//! Tests of the decisions.

use chrono::{DateTime, TimeDelta};

use super::*;

fn second(seconds: i64) -> Timestamp {
    Timestamp(DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds))
}

fn row(quantity: i32, committed: i32) -> StockRow {
    StockRow {
        id: 1,
        store_id: 1,
        product_id: 1,
        quantity,
        reserved: 0,
        committed,
        is_new: false,
    }
}

/// A line that was counted at second 10.
fn line(counted: i64, on_hand: i64) -> CountedLine {
    CountedLine {
        product_id: 1,
        counted,
        counted_at: second(10),
        on_hand: Some(on_hand),
        row_counted_at: None,
    }
}

#[test]
fn sales_before_and_after_the_counting_stay() {
    // 20 were on hand, and 18 were counted; 5 were sold since.
    let applied = Outcome::Applied {
        on_hand: 20,
        quantity: 13,
    };
    assert_eq!(line(18, 20).judge(&row(15, 0)), applied);
    // The same with 4 committed units, which are on hand.
    let applied = Outcome::Applied {
        on_hand: 20,
        quantity: 9,
    };
    assert_eq!(line(18, 20).judge(&row(11, 4)), applied);
}

#[test]
fn a_count_that_matches_leaves_the_quantity() {
    let applied = Outcome::Applied {
        on_hand: 20,
        quantity: 15,
    };
    assert_eq!(line(20, 20).judge(&row(15, 0)), applied);
}

#[test]
fn a_quantity_that_was_set_at_the_same_time_or_later_supersedes_the_line() {
    for (at, is_superseded) in [(9, false), (10, true), (11, true)] {
        let line = CountedLine {
            row_counted_at: Some(second(at)),
            ..line(18, 20)
        };
        assert_eq!(
            line.judge(&row(20, 0)) == Outcome::Superseded,
            is_superseded,
            "{at}"
        );
    }
}

#[test]
fn a_line_fails_if_more_was_sold_than_counted() {
    let failed = |missing| Outcome::Failed {
        code: Failure::CountedBelowCommitted,
        missing: Some(missing),
    };
    // 20 were on hand, and 3 were counted: of the 4 that can still be sold, 13 are missing.
    assert_eq!(line(3, 20).judge(&row(4, 0)), failed(13));
    assert_eq!(
        line(0, i64::from(i32::MAX)).judge(&row(0, i32::MAX)),
        failed(i64::from(i32::MAX))
    );
}

#[test]
fn a_line_fails_beyond_the_largest_quantity_and_before_the_kept_history() {
    let failed = |code| Outcome::Failed { code, missing: None };
    assert_eq!(
        line(6, 5).judge(&row(i32::MAX, 0)),
        failed(Failure::ExceedsQuantity)
    );
    assert_eq!(
        line(i64::from(u32::MAX), 0).judge(&row(0, 0)),
        failed(Failure::ExceedsQuantity)
    );
    let detached = CountedLine {
        on_hand: None,
        ..line(5, 5)
    };
    assert_eq!(detached.judge(&row(5, 0)), failed(Failure::HistoryDetached));
}
