//! Stock rows and their opening movements.

use rand::{Rng, rngs::StdRng, seq::index};
use sqlx::PgConnection;

use super::{BATCH, Plan, Progress, SHOWN, catalogue::Products, indexes};

/// Creates the stock rows, and returns their number. The first store always has the first products.
pub(super) async fn make(
    db: &mut PgConnection,
    plan: &Plan,
    stores: &[i64],
    products: &Products,
    rng: &mut StdRng,
    progress: impl Fn(Progress),
) -> sqlx::Result<usize> {
    let expected = plan
        .inventory
        .map_or(stores.len() * products.ids.len() * 3 / 4, |rows| rows as usize);
    let indexes = indexes::set_aside(db, "inventory", expected).await?;
    progress(Progress::Stage("stock"));
    let mut made = 0;
    for (number, store) in stores.iter().enumerate() {
        let shown = if number == 0 { SHOWN } else { 0 };
        let shelf = match plan.inventory {
            None => share_of(products.ids.len(), shown, rng),
            Some(rows) => some_of(
                products.ids.len(),
                even_share(rows as usize, stores.len(), number),
                shown,
                rng,
            ),
        };
        for rows in shelf.chunks(BATCH) {
            write(db, plan, *store, products, rows).await?;
            made += rows.len();
            let in_ledger = rows.iter().filter(|row| row.quantity > 0).count();
            progress(Progress::Rows(rows.len() + in_ledger));
        }
    }
    progress(Progress::Stage("indexes of stock"));
    indexes.restore(db).await?;
    Ok(made)
}

/// A stock row to insert.
struct Row {
    /// Index of its product among the created ones.
    product: usize,
    quantity: i32,
    threshold: i32,
}

impl Row {
    /// A row with a random quantity; rows that the documentation uses have enough for its examples.
    fn of(product: usize, is_shown: bool, rng: &mut StdRng) -> Self {
        Self {
            product,
            quantity: rng.random_range(if is_shown { 100..=500 } else { 0..=500 }),
            threshold: rng.random_range(5..=20),
        }
    }
}

/// 60 to 90 % of the products, always including the first ones.
fn share_of(products: usize, shown: usize, rng: &mut StdRng) -> Vec<Row> {
    let share = rng.random_range(0.6..=0.9);
    let mut rows = Vec::new();
    for product in 0..products {
        let is_shown = product < shown;
        if is_shown || rng.random_bool(share) {
            rows.push(Row::of(product, is_shown, rng));
        }
    }
    rows
}

/// `count` of the products, always including the first ones.
fn some_of(products: usize, count: usize, shown: usize, rng: &mut StdRng) -> Vec<Row> {
    let count = count.min(products);
    let shown = shown.min(count);
    let mut chosen = index::sample(rng, products - shown, count - shown).into_vec();
    chosen.sort_unstable();
    let chosen = chosen.into_iter().map(|index| index + shown);
    (0..shown)
        .chain(chosen)
        .map(|product| Row::of(product, product < shown, rng))
        .collect()
}

/// The share of one part when a number is divided evenly.
pub(super) fn even_share(whole: usize, parts: usize, number: usize) -> usize {
    whole / parts + usize::from(number < whole % parts)
}

async fn write(
    db: &mut PgConnection,
    plan: &Plan,
    store: i64,
    products: &Products,
    rows: &[Row],
) -> sqlx::Result<()> {
    let product_ids: Vec<i64> = rows.iter().map(|row| products.ids[row.product]).collect();
    let titles: Vec<&str> = rows.iter().map(|row| &*products.titles[row.product]).collect();
    let quantities: Vec<i32> = rows.iter().map(|row| row.quantity).collect();
    let thresholds: Vec<i32> = rows.iter().map(|row| row.threshold).collect();
    sqlx::query!(
        "with made as (
             insert into inventory
                 (store_id, product_id, product_title, quantity, low_stock_threshold, created_at, updated_at)
             select $1, made.*, now() - make_interval(days => $6), now() - make_interval(days => $6)
             from unnest($2::bigint[], $3::text[], $4::integer[], $5::integer[]) made
             returning id, quantity, created_at
         )
         insert into stock_movement (inventory_id, kind, delta, quantity_after, created_at)
         select id, 'INITIAL', quantity, quantity, created_at from made where quantity > 0",
        store,
        &product_ids,
        &titles as &[&str],
        &quantities,
        &thresholds,
        plan.age()
    )
    .execute(db)
    .await
    .map(drop)
}
