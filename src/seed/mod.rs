//! Demo data in the proportions of the original system: most products and stores are active, and each store stocks most
//! products. It can also create millions of rows, for load tests.
//!
//! Rows are generated from a seeded random number generator and written in batches.

mod catalogue;
mod codes;
mod documents;
mod indexes;
mod orders;
mod stock;
mod stock_counts;
mod transfers;
mod words;

use clap::{Args, value_parser};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// Rows per statement.
const BATCH: usize = 10_000;
/// Products of the first store that the documentation's examples use.
const SHOWN: usize = 3;
/// Age of the oldest orders. The catalog is older.
const DAYS: i32 = 30;

/// How much to create.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Number of categories
    #[arg(long, default_value_t = Self::default().categories, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub categories: u32,
    /// Number of products
    // About 95 % of them are active.
    #[arg(long, default_value_t = Self::default().products, value_parser = value_parser!(u32).range(0..=10_000_000))]
    pub products: u32,
    /// Number of stores
    // About 90 % of them are active.
    #[arg(long, default_value_t = Self::default().stores, value_parser = value_parser!(u32).range(0..=100_000))]
    pub stores: u32,
    /// Number of stock rows, spread evenly over the stores [default: each store stocks 60 to 90 % of the products]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(0..=1_000_000_000))]
    pub inventory: Option<u32>,
    /// Number of orders over the past 30 days, from active stores with stock
    // Some ask for too much and are rejected.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000_000))]
    pub orders: u32,
    /// Seed of the random numbers, to create the same data again. Timestamps and the sequence of orders of different stores
    /// still differ
    #[arg(long, value_name = "N")]
    pub random_seed: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            categories: 12,
            products: 1000,
            stores: 25,
            inventory: None,
            orders: 0,
            random_seed: None,
        }
    }
}

impl Plan {
    /// Approximate number of rows to write.
    pub fn rows(&self) -> u64 {
        let (products, stores) = (u64::from(self.products), u64::from(self.stores));
        let stock = self.inventory.map_or(products * stores * 3 / 4, u64::from);
        // A stock row has one movement; an order has two items, each with a movement, and a confirmation.
        u64::from(self.categories) + products + stores + stock * 2 + u64::from(self.orders) * 6
    }

    /// Age of the catalog in days.
    fn age(&self) -> i32 {
        if self.orders == 0 { 0 } else { DAYS + 1 }
    }
}

/// How much was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// New categories.
    pub categories: usize,
    /// Products.
    pub products: usize,
    /// Stores.
    pub stores: usize,
    /// Stock rows.
    pub inventory: usize,
    /// Orders, confirmed and rejected.
    pub orders: usize,
}

/// Progress for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A new stage has begun.
    Stage(&'static str),
    /// This number of rows was written.
    Rows(usize),
}

/// Whether the database has no categories, products or stores.
pub async fn is_empty(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not (exists (select from category) or exists (select from store)) as "empty!""#
    )
    .fetch_one(db)
    .await
}

/// The numbers of categories, products and stores.
pub async fn present(db: &mut PgConnection) -> sqlx::Result<[i64; 3]> {
    sqlx::query!(
        r#"select (select count(*) from category) as "categories!", (select count(*) from product) as "products!",
               (select count(*) from store) as "stores!""#
    )
    .map(|row| [row.categories, row.products, row.stores])
    .fetch_one(db)
    .await
}

/// A store and a product of which it has at least two units, if there is one.
pub async fn possible_order(db: &mut PgConnection) -> sqlx::Result<Option<(i64, i64)>> {
    sqlx::query!(
        "select i.store_id, i.product_id from inventory i
             join store s on s.id = i.store_id join product p on p.id = i.product_id
         where s.is_active and p.is_active and i.quantity >= 2
         order by i.id limit 1"
    )
    .map(|row| (row.store_id, row.product_id))
    .fetch_optional(db)
    .await
}

/// Deletes the catalog, stock, orders and everything derived from orders. Accounts, API keys and the audit log stay.
///
/// Sequences continue: API keys, audit entries, jobs in Redis and clients still hold ids of deleted records, which must not be
/// assigned to new ones. The tables of detached partitions stay too.
pub async fn clear(db: &mut PgConnection) -> sqlx::Result<()> {
    // Triggers empty the counters and the data derived from products.
    sqlx::query!(
        "truncate category, product, product_code, store, inventory, stock_movement, movement_count, movement_reversal, opening_balance,
             orders, order_item, order_line_progress, order_document, reservation, reservation_item, detached_orders,
             order_confirmation, outbox, delivery, transfer, transfer_line, stock_count, stock_count_line, stock_count_entry,
             idempotency_key, daily_order_report
         continue identity"
    )
    .execute(db)
    .await
    .map(drop)
}

/// Creates the catalog and stock in one transaction, then orders in many. An interruption leaves consistent data: each order has
/// its movements and its confirmation.
pub async fn run(options: &PgConnectOptions, plan: &Plan, progress: impl Fn(Progress)) -> sqlx::Result<Made> {
    let mut rng = plan
        .random_seed
        .map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
    let mut db = PgConnection::connect_with(options).await?;
    let mut made = make_catalogue(&mut db, plan, &mut rng, &progress).await?;
    if plan.orders > 0 {
        // The planner needs statistics of the new stock rows.
        sqlx::query!("analyze category, product, product_code, store, inventory, stock_movement")
            .execute(&mut db)
            .await?;
        progress(Progress::Stage("orders"));
        made.orders = orders::make(options, &mut db, plan.orders, &mut rng, &progress).await?;
        documents::add_order_documents(&mut db, plan.orders).await?;
        documents::add_reservations(&mut db, plan.orders).await?;
    }
    // The first plans need statistics, and index-only scans the visibility map.
    progress(Progress::Stage("vacuum"));
    sqlx::query!(
        "vacuum (analyze) category, product, product_code, store, inventory, orders, order_item, stock_movement, outbox,
             order_confirmation, order_reference, order_key, transfer, transfer_line, stock_count, stock_count_line,
             stock_count_entry, order_tally, stock_tally, product_tally"
    )
    .execute(&mut db)
    .await?;
    db.close().await?;
    Ok(made)
}

async fn make_catalogue(
    db: &mut PgConnection,
    plan: &Plan,
    rng: &mut StdRng,
    progress: impl Fn(Progress),
) -> sqlx::Result<Made> {
    let mut tx = db.begin().await?;
    let (categories, new_categories) = catalogue::make_categories(&mut tx, plan.categories).await?;
    progress(Progress::Rows(categories.len()));
    let products = catalogue::make_products(&mut tx, plan, &categories, rng, &progress).await?;
    let stores = catalogue::make_stores(&mut tx, plan, rng).await?;
    progress(Progress::Rows(stores.len()));
    let inventory = stock::make(&mut tx, plan, &stores, &products, rng, &progress).await?;
    progress(Progress::Rows(transfers::make(&mut tx, plan, &stores).await?));
    progress(Progress::Rows(stock_counts::make(&mut tx, plan, &stores).await?));
    tx.commit().await?;
    Ok(Made {
        categories: new_categories,
        products: products.ids.len(),
        stores: stores.len(),
        inventory,
        orders: 0,
    })
}
