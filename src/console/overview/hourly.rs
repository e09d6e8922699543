//! Orders by the hour. Past hours seldom change, so each process caches their numbers for a minute. They can still change:
//! orders are backdated, deleted, or decided late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, NaiveTime, SubsecRound, TimeDelta, Timelike, Utc};
use rust_decimal::Decimal;

use super::statistics;
use crate::{auth::Stores, db::ReadPool, money::Money};

/// The number of shown hours, including the current one.
pub const SHOWN: i64 = 24;
/// The age after which no order is still to commit.
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(2);
/// The age at which the cache expires.
const REMEMBERED: TimeDelta = TimeDelta::minutes(1);

/// The orders of a timespan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// All orders.
    pub placed: i64,
    /// Confirmed orders.
    pub confirmed: i64,
    /// Rejected orders.
    pub rejected: i64,
    /// The total of the confirmed orders.
    pub revenue: Decimal,
}

impl Orders {
    fn add(&mut self, other: Self) {
        self.placed += other.placed;
        self.confirmed += other.confirmed;
        self.rejected += other.rejected;
        self.revenue = self.revenue.checked_add(other.revenue).unwrap_or(Decimal::MAX);
    }

    /// The revenue.
    pub fn revenue(&self) -> Money {
        Money(self.revenue)
    }

    /// The percentage of rejected orders among decided ones; blank if none was decided.
    pub fn reject_rate(&self) -> String {
        let decided = self.confirmed + self.rejected;
        let rate = Decimal::from(self.rejected * 100).checked_div(Decimal::from(decided));
        rate.map(|rate| format!("{:.1} %", rate.round_dp(1)))
            .unwrap_or_default()
    }
}

/// The orders of the last hours, in the stores of an operator.
#[derive(Clone, Debug)]
pub struct Recent {
    /// By hour, the current one last.
    pub hours: Vec<(DateTime<Utc>, Orders)>,
    /// Since midnight UTC.
    pub today: Orders,
    /// Of all shown hours.
    pub all: Orders,
}

/// The cache of the hours. Clones share it.
#[derive(Clone, Default)]
pub struct Hours(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// No order before this time is still to commit.
    settled: Option<DateTime<Utc>>,
    /// When all hours were last read.
    whole: Option<DateTime<Utc>>,
    orders: BTreeMap<(DateTime<Utc>, i64), Orders>,
}

impl Hours {
    /// Reads the hours that may have changed, and sums up the orders of `stores`.
    pub async fn read(&self, db: &ReadPool, now: DateTime<Utc>, stores: &Stores) -> sqlx::Result<Recent> {
        let first = hour_of(now) - TimeDelta::hours(SHOWN - 1);
        let since = self.known().since(first, now);
        let read = statistics::by_hour_and_store(db, since).await?;
        let mut known = self.known();
        known
            .orders
            .retain(|(hour, _), _| *hour >= first && *hour < since);
        known.orders.extend(read.into_iter().map(|row| {
            let orders = Orders {
                placed: row.placed,
                confirmed: row.confirmed,
                rejected: row.rejected,
                revenue: row.revenue,
            };
            ((row.hour, row.store_id), orders)
        }));
        known.settled = Some(hour_of(now - SETTLED_AFTER));
        if since == first {
            known.whole = Some(now);
        }
        Ok(known.sum(first, now, stores))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The time from which orders must be read.
    fn since(&self, first: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let is_fresh = self.whole.is_some_and(|whole| now - whole < REMEMBERED);
        let settled = self.settled.filter(|_| is_fresh);
        settled.map_or(first, |settled| settled.max(first))
    }

    fn sum(&self, first: DateTime<Utc>, now: DateTime<Utc>, stores: &Stores) -> Recent {
        let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let (mut today, mut all) = (Orders::default(), Orders::default());
        let mut hours: Vec<(DateTime<Utc>, Orders)> = (0..SHOWN)
            .map(|hour| (first + TimeDelta::hours(hour), Orders::default()))
            .collect();
        for ((hour, store), orders) in &self.orders {
            if !stores.contains(*store) {
                continue;
            }
            if let Some((_, sum)) = hours.iter_mut().find(|(of, _)| of == hour) {
                sum.add(*orders);
                all.add(*orders);
            }
            if *hour >= midnight {
                today.add(*orders);
            }
        }
        Recent { hours, today, all }
    }
}

fn hour_of(moment: DateTime<Utc>) -> DateTime<Utc> {
    let full = moment.with_minute(0).and_then(|moment| moment.with_second(0));
    full.unwrap_or(moment).trunc_subsecs(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_rate_counts_decided_orders_only() {
        let orders = |placed, confirmed, rejected| Orders {
            placed,
            confirmed,
            rejected,
            revenue: Decimal::ZERO,
        };
        assert_eq!(orders(10, 2, 1).reject_rate(), "33.3 %");
        assert_eq!(orders(3, 0, 3).reject_rate(), "100.0 %");
        assert_eq!(orders(1, 0, 0).reject_rate(), "");
    }

    #[test]
    fn settled_hours_are_read_again_after_a_minute() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let first = at("2024-05-01T02:00:00Z");
        let settled = at("2024-05-02T01:00:00Z");
        let known = Known {
            settled: Some(settled),
            whole: Some(at("2024-05-02T01:30:00Z")),
            orders: BTreeMap::new(),
        };
        assert_eq!(known.since(first, at("2024-05-02T01:30:59Z")), settled);
        assert_eq!(known.since(first, at("2024-05-02T01:31:00Z")), first);
        assert_eq!(Known::default().since(first, settled), first);
    }

    #[test]
    fn hours_are_summed_by_day_and_store() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let one = Orders {
            placed: 1,
            confirmed: 1,
            rejected: 0,
            revenue: Decimal::ONE,
        };
        let known = Known {
            settled: None,
            whole: None,
            orders: BTreeMap::from([
                ((at("2024-05-01T23:00:00Z"), 1), one),
                ((at("2024-05-02T00:00:00Z"), 1), one),
                ((at("2024-05-02T01:00:00Z"), 2), one),
            ]),
        };
        let now = at("2024-05-02T01:30:00Z");
        let first = hour_of(now) - TimeDelta::hours(SHOWN - 1);
        let placed = |stores| {
            let recent = known.sum(first, now, &stores);
            (recent.all.placed, recent.today.placed, recent.hours[23].1.placed)
        };
        assert_eq!(placed(Stores::All), (3, 2, 1));
        assert_eq!(placed(Stores::Only([1].into())), (2, 1, 0));
    }
}
