//! Orders of the past thirty days, placed by the same code as all others.
//!
//! Several connections place orders, each for its own stores, so that they do not wait for each other. The content of orders
//! depends on the seed alone; the assignment of ids also on timing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{
    PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    DAYS, Progress,
    stock::even_share,
    words::{FIRST_NAMES, LAST_NAMES},
};
use crate::{
    counters, db,
    order::{self, Customer, Metadata, NewItem, NewOrder, OrderData, Outcome},
    outbox, partitions,
    timestamp::Timestamp,
};

/// Orders per transaction.
const TOGETHER: usize = 4000;
/// Connections. The same number on every machine, because the data depends on it.
const LANES: usize = 8;
/// One order in this many comes from a web shop.
const FROM_WEB_SHOP: usize = 4;
/// The share of orders that exceed the stock.
const GREEDY: f64 = 0.035;
/// The smallest number of products that a store sells at a time; usually it is a twentieth of its products.
const IN_SEASON: usize = 500;

/// Places orders with their confirmations, and returns their number: 0 if there is no stock.
pub(super) async fn make(
    options: &PgConnectOptions,
    db: &mut PgConnection,
    count: u32,
    rng: &mut StdRng,
    progress: impl Fn(Progress),
) -> sqlx::Result<usize> {
    let options = options.clone().options([
        // The next synchronous commit makes all of them durable.
        ("synchronous_commit", "off"),
        // The same planner settings as for servers: generic plans that use the indexes.
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
            number,
            shelves,
            orders: even_share(count as usize, lanes, number),
            rng: StdRng::from_rng(rng),
        };
        async move { lane.work(db, history, progress).await }
    });
    let made = try_join_all(working).await?.into_iter().sum();
    // Reported days have more orders now: the worker writes their reports again.
    sqlx::query!(
        "delete from daily_order_report where day >= ($1::timestamptz at time zone 'UTC')::date",
        history.start
    )
    .execute(&pool)
    .await?;
    // A running worker would do it too.
    counters::compact(&pool).await?;
    pool.close().await;
    Ok(made)
}

/// The times of orders: evenly over the past days, ascending with their ids.
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
        // Ids that other processes take meanwhile must not lead into the future.
        Timestamp(self.end.min(self.start + self.step * steps))
    }
}

/// The stock of an active store, as columns, because there may be millions of rows.
struct Shelf {
    store_id: i64,
    product_ids: Vec<i64>,
    left: Vec<i32>,
}

/// The stores that accept orders.
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
    /// The next order, when the fraction `gone` of all orders has been placed.
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
            product_id: self.product_ids[row],
            quantity: i64::from(quantity),
            price: None,
        });
        NewOrder::new(self.store_id, items.collect())
    }

    /// A product among those sold at this time, and in stock if possible.
    ///
    /// Selling few products at a time keeps the written rows together on disk. Rows from all over a large table would each write a
    /// full page to the WAL: with ten million stock rows, 2.5 times the WAL and 1.8 times the time.
    fn pick(&self, gone: f64, rng: &mut StdRng) -> usize {
        let all = self.left.len();
        let season = (all / 20).max(IN_SEASON).min(all);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a fraction of a length"
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

/// The orders of one connection.
struct Lane {
    number: usize,
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
            let orders = (asked..until).map(|number| self.order(number, history.first_id));
            let orders: Vec<NewOrder> = orders.collect();
            asked = until;
            // No worker may be running.
            partitions::ensure(db).await?;
            let placed = db::retry(async || place(db, &orders, history).await).await?;
            made += placed.orders;
            progress(Progress::Rows(placed.rows));
        }
        Ok(made)
    }

    fn order(&mut self, number: usize, first_id: i64) -> NewOrder {
        #[expect(clippy::cast_precision_loss, reason = "a fraction")]
        let gone = number as f64 / self.orders as f64;
        let store = self.rng.random_range(0..self.shelves.len());
        NewOrder {
            data: data(number, number * LANES + self.number, first_id),
            ..self.shelves[store].order(gone, &mut self.rng)
        }
    }
}

/// What the client keeps with some of the orders, as if they came from a web shop. `unique` is another number for each order of
/// a run, and `first_id` for each run.
fn data(number: usize, unique: usize, first_id: i64) -> Option<Arc<OrderData>> {
    if !number.is_multiple_of(FROM_WEB_SHOP) {
        return None;
    }
    let visit = number / FROM_WEB_SHOP;
    let (first, last) = (
        FIRST_NAMES[visit % FIRST_NAMES.len()],
        LAST_NAMES[visit / 3 % LAST_NAMES.len()],
    );
    let customer = Customer {
        reference: None,
        name: Some(format!("{first} {last}")),
        email: Some(format!("{first}.{last}@example.com").to_lowercase()),
        phone: None,
    };
    let note = visit
        .is_multiple_of(5)
        .then(|| "Please ring the bell twice.".to_owned());
    Some(Arc::new(OrderData {
        external_reference: Some(format!("WEB-{}", unique + usize::try_from(first_id).unwrap_or(0))),
        customer: Some(customer),
        note,
        metadata: Some(Metadata::from([("channel".to_owned(), "web".to_owned())])),
    }))
}

/// The rows that a transaction wrote.
#[derive(Default)]
struct Placed {
    orders: usize,
    rows: usize,
}

/// Places orders and confirms them in one transaction, so that no worker sees them in the outbox.
async fn place(db: &PgPool, orders: &[NewOrder], history: &History) -> sqlx::Result<Placed> {
    let mut tx = db.begin().await?;
    let decided = order::place_at(&mut tx, orders, Some(&|id| history.time_of(id))).await?;
    let mut placed = Placed::default();
    let mut any_confirmed = false;
    for outcome in &decided.outcomes {
        if let Outcome::Placed(order) = outcome {
            placed.orders += 1;
            // Each item has a movement.
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
