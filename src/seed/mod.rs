//! Demo data, in the amounts and proportions that the original made: most products and stores are active, and each store
//! stocks most of the products. Or as much of it as it takes to see how Afforo does with millions.
//!
//! Rows are made here, by chance that a number can repeat, and written many at a time.

mod catalogue;
mod indexes;
mod orders;
mod stock;
mod words;

use rand::{SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// Rows that one statement writes.
const BATCH: usize = 10_000;
/// The rows with which the examples of the documentation work: products of the first store.
const SHOWN: usize = 3;
/// How far back orders go. What they order has to be older.
const DAYS: i32 = 30;

/// How much to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Categories.
    pub categories: u32,
    /// Products: about 95 % of them active.
    pub products: u32,
    /// Stores: about 90 % of them active.
    pub stores: u32,
    /// Stock rows, spread evenly over the stores; at most each product in each store. `None` stocks each store with 60
    /// to 90 % of the products.
    pub inventory: Option<u32>,
    /// Orders, from whatever active stores and stock there are then. A few ask for too much and are rejected.
    pub orders: u32,
    /// Decides all chance; `None` makes other data each time.
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
    /// About how many rows will be written.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let (products, stores) = (u64::from(self.products), u64::from(self.stores));
        let stock = self.inventory.map_or(products * stores * 3 / 4, u64::from);
        // A stock row has its row in the ledger; an order has two items, each with its row in the ledger, and a
        // confirmation.
        u64::from(self.categories) + products + stores + stock * 2 + u64::from(self.orders) * 6
    }

    /// How many days before today the catalogue came into being.
    fn age(&self) -> i32 {
        if self.orders == 0 { 0 } else { DAYS + 1 }
    }
}

/// How much was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Categories; those that existed under the same name are not counted.
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

/// What somebody who waits would like to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What is being done from here on.
    Stage(&'static str),
    /// So many more rows were written, of whatever table.
    Rows(usize),
}

/// Whether there is nothing yet that seeding would make.
pub async fn is_empty(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not (exists (select from category) or exists (select from store)) as "empty!""#
    )
    .fetch_one(db)
    .await
}

/// How many categories, products and stores there are.
pub async fn present(db: &mut PgConnection) -> sqlx::Result<[i64; 3]> {
    sqlx::query!(
        r#"select (select count(*) from category) as "categories!", (select count(*) from product) as "products!",
               (select count(*) from store) as "stores!""#
    )
    .map(|row| [row.categories, row.products, row.stores])
    .fetch_one(db)
    .await
}

/// A store and a product in it that an order of two pieces would get, if there is one.
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

/// Deletes all data: the catalog, stock, orders, and whatever tells of orders. Accounts, API keys and the audit log stay.
///
/// Ids go on: what still names a deleted record must never come to name another one. That may be a store that a key is
/// bound to, an entry of the audit log, a job in Redis, or what a client remembers.
pub async fn clear(db: &mut PgConnection) -> sqlx::Result<()> {
    // The tallies, and what is derived from products, are emptied by triggers.
    sqlx::query!(
        "truncate category, product, store, inventory, stock_movement, movement_count, orders, order_item,
             order_confirmation, outbox, delivery, idempotency_key, daily_order_report continue identity"
    )
    .execute(db)
    .await
    .map(drop)
}

/// Makes the data: all but the orders in one transaction, then orders in many. Whenever it is interrupted, what is there
/// is whole: each order has its stock taken, its ledger and its confirmation.
pub async fn run(options: &PgConnectOptions, plan: &Plan, progress: impl Fn(Progress)) -> sqlx::Result<Made> {
    let mut rng = plan
        .random_seed
        .map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
    let mut db = PgConnection::connect_with(options).await?;
    let mut made = make_catalogue(&mut db, plan, &mut rng, &progress).await?;
    if plan.orders > 0 {
        // So that it is known which stock can be found how.
        sqlx::query!("analyze category, product, store, inventory, stock_movement")
            .execute(&mut db)
            .await?;
        progress(Progress::Stage("orders"));
        made.orders = orders::make(options, &mut db, plan.orders, &mut rng, &progress).await?;
    }
    // So that the first plans know what is in the tables, and reads need not look which rows are there for all to see.
    progress(Progress::Stage("vacuum"));
    sqlx::query!(
        "vacuum (analyze) category, product, store, inventory, orders, order_item, stock_movement, outbox,
             order_confirmation, order_tally, stock_tally, product_tally"
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
    tx.commit().await?;
    Ok(Made {
        categories: new_categories,
        products: products.ids.len(),
        stores: stores.len(),
        inventory,
        orders: 0,
    })
}
