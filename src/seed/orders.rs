//! Orders of the past thirty days, placed like any other: whatever a placement keeps true is true of them.
//!
//! Several connections order at a time, each from stores of its own, so that none waits for another. What a store is
//! asked for is decided by chance that a number can repeat; only which order gets which id depends on who was first.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{
    PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{DAYS, Progress, stock::even_share};
use crate::{
    counters, db,
    order::{self, NewItem, NewOrder, Outcome},
    outbox,
    timestamp::Timestamp,
};

/// Orders in a transaction.
const TOGETHER: usize = 4000;
/// Connections. The same number on every machine, because what is ordered depends on it.
const LANES: usize = 8;
/// The share of orders that ask for more than there is.
const GREEDY: f64 = 0.035;
/// A store sells a twentieth of its products at a time, and not less than this.
const IN_SEASON: usize = 500;

/// Places so many orders, with their confirmations, and returns how many there are: none where nothing can be ordered.
pub(super) async fn make(
    options: &PgConnectOptions,
    db: &mut PgConnection,
    count: u32,
    rng: &mut StdRng,
    progress: impl Fn(Progress),
) -> sqlx::Result<usize> {
    let options = options.clone().options([
        // The next commit that waits for the disk makes all of them durable.
        ("synchronous_commit", "off"),
        // As servers place orders: plans are made once, and use the indexes.
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
    ]);
    let history = History::begin(db, count).await?;
    let shelves = shelves(db).await?;
    let lanes = LANES.min(shelves.len());
    let mut of_lanes: Vec<Vec<Shelf>> = (0..lanes).map(|_| Vec::new()).collect();
    for (number, shelf) in shelves.into_iter().enumerate() {
        of_lanes[number % lanes].push(shelf);
    }
    let pool = PgPoolOptions::new()
        .max_connections(u32::try_from(LANES).unwrap_or(u32::MAX))
        .connect_lazy_with(options);
    let (db, history, progress) = (&pool, &history, &progress);
    let working = of_lanes.into_iter().enumerate().map(|(number, shelves)| {
        let mut lane = Lane {
            shelves,
            orders: even_share(count as usize, lanes, number),
            rng: StdRng::from_rng(rng),
        };
        async move { lane.work(db, history, progress).await }
    });
    let made = try_join_all(working).await?.into_iter().sum();
    // Days that were reported on have more orders now: the worker reports on them anew.
    sqlx::query!(
        "delete from daily_order_report where day >= ($1::timestamptz at time zone 'UTC')::date",
        history.start
    )
    .execute(&pool)
    .await?;
    // A worker would do it too, if there is one.
    counters::compact(&pool).await?;
    pool.close().await;
    Ok(made)
}

/// When the orders are placed: evenly over the past days, in the order of their ids, whoever takes them.
struct History {
    first_id: i64,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    step: TimeDelta,
}

impl History {
    async fn begin(db: &mut PgConnection, count: u32) -> sqlx::Result<Self> {
        let row = sqlx::query!(
            r#"select now() as "now!", now() - make_interval(days => $1) as "start!",
                   last_value + is_called::integer as "first_id!" from orders_id_seq"#,
            DAYS
        )
        .fetch_one(db)
        .await?;
        Ok(Self {
            first_id: row.first_id,
            start: row.start,
            end: row.now,
            step: (row.now - row.start) / i32::try_from(count).unwrap_or(i32::MAX).max(1),
        })
    }

    fn time_of(&self, id: i64) -> Timestamp {
        let steps = i32::try_from(id - self.first_id).unwrap_or(i32::MAX);
        // Ids that others take meanwhile do not lead into the future.
        Timestamp(self.end.min(self.start + self.step * steps))
    }
}

/// What an active store has of active products; columns, because there may be millions.
struct Shelf {
    store_id: i64,
    product_ids: Vec<i64>,
    left: Vec<i32>,
}

/// The stores that can be ordered from.
async fn shelves(db: &mut PgConnection) -> sqlx::Result<Vec<Shelf>> {
    let inactive = sqlx::query_scalar!("select id from product where not is_active order by id")
        .fetch_all(&mut *db)
        .await?;
    let stores = sqlx::query_scalar!("select id from store where is_active order by id")
        .fetch_all(&mut *db)
        .await?;
    let mut shelves = Vec::with_capacity(stores.len());
    for store_id in stores {
        let rows = sqlx::query!(
            "select product_id, quantity from inventory where store_id = $1 and quantity > 0 order by product_id",
            store_id
        )
        .fetch_all(&mut *db)
        .await?;
        let rows = rows
            .iter()
            .filter(|row| inactive.binary_search(&row.product_id).is_err());
        let (product_ids, left): (Vec<_>, Vec<_>) = rows.map(|row| (row.product_id, row.quantity)).unzip();
        if !product_ids.is_empty() {
            shelves.push(Shelf {
                store_id,
                product_ids,
                left,
            });
        }
    }
    Ok(shelves)
}

impl Shelf {
    /// An order when `gone` of the orders have been placed.
    fn order(&mut self, gone: f64, rng: &mut StdRng) -> NewOrder {
        let mut picked: Vec<(usize, i32)> = Vec::with_capacity(3);
        for _ in 0..rng.random_range(1..=3) {
            let row = self.pick(gone, rng);
            if picked.iter().all(|(other, _)| *other != row) {
                picked.push((row, rng.random_range(1..=3).min(self.left[row]).max(1)));
            }
        }
        if rng.random_bool(GREEDY) {
            picked[0].1 = self.left[picked[0].0] + rng.random_range(1..=50);
        }
        if picked.iter().all(|(row, quantity)| *quantity <= self.left[*row]) {
            for (row, quantity) in &picked {
                self.left[*row] -= quantity;
            }
        }
        let items = picked.into_iter().map(|(row, quantity)| NewItem {
            product_id: self.product_ids[row].into(),
            quantity: i64::from(quantity).into(),
        });
        NewOrder {
            store_id: self.store_id.into(),
            items: items.collect(),
            placed_by: None,
        }
    }

    /// A product that is in season, and in stock unless little is.
    ///
    /// Seasons are not for show: the rows that are written lie together on disk. From all over a large table, each would
    /// cost the log a whole page: with ten million stock rows that was 2.5 times the log and 1.8 times the time.
    fn pick(&self, gone: f64, rng: &mut StdRng) -> usize {
        let all = self.left.len();
        let season = (all / 20).max(IN_SEASON).min(all);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a part of a length"
        )]
        let start = ((all - season) as f64 * gone) as usize;
        let mut row = start;
        for _ in 0..8 {
            row = start + rng.random_range(0..season);
            if self.left[row] > 0 {
                break;
            }
        }
        row
    }
}

/// A connection's work.
struct Lane {
    shelves: Vec<Shelf>,
    orders: usize,
    rng: StdRng,
}

impl Lane {
    async fn work(
        &mut self,
        db: &PgPool,
        history: &History,
        progress: impl Fn(Progress),
    ) -> sqlx::Result<usize> {
        let (mut asked, mut made) = (0, 0);
        while asked < self.orders {
            let until = self.orders.min(asked + TOGETHER);
            let orders: Vec<NewOrder> = (asked..until).map(|number| self.order(number)).collect();
            asked = until;
            let placed = db::retry(async || place(db, &orders, history).await).await?;
            made += placed.orders;
            progress(Progress::Rows(placed.rows));
        }
        Ok(made)
    }

    fn order(&mut self, number: usize) -> NewOrder {
        #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
        let gone = number as f64 / self.orders as f64;
        let store = self.rng.random_range(0..self.shelves.len());
        self.shelves[store].order(gone, &mut self.rng)
    }
}

/// What a transaction wrote.
#[derive(Default)]
struct Placed {
    orders: usize,
    rows: usize,
}

/// Places orders and settles what is owed to them, in one transaction: no worker gets to see that something was owed.
async fn place(db: &PgPool, orders: &[NewOrder], history: &History) -> sqlx::Result<Placed> {
    let mut tx = db.begin().await?;
    let decided = order::place_at(&mut tx, orders, Some(&|id| history.time_of(id))).await?;
    let mut placed = Placed::default();
    let mut any_confirmed = false;
    for outcome in &decided.outcomes {
        if let Outcome::Placed(order) = outcome {
            placed.orders += 1;
            // An item has its row in the ledger.
            placed.rows += 1 + 2 * order.items.len();
            any_confirmed |= order.rejections.is_none();
        }
    }
    if any_confirmed {
        let owed = outbox::last_written(&mut *tx).await?;
        placed.rows += outbox::settle(&mut *tx, &[owed], &[]).await?.len();
    }
    tx.commit().await?;
    Ok(placed)
}
