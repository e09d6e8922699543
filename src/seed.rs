//! Demo data, in the amounts and proportions that the original made: most products and stores are active, and each store
//! stocks most of the products.
//!
//! Rows are made here, by chance that a number can repeat, and written many at a time.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rust_decimal::Decimal;
use sqlx::{Connection, PgConnection};

use crate::money::Money;

/// Rows that one statement writes.
const BATCH: usize = 10_000;
/// The rows with which the examples of the documentation work: products of the first store.
const SHOWN: usize = 3;

/// How much to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Categories.
    pub categories: u32,
    /// Products: about 95 % of them active.
    pub products: u32,
    /// Stores: about 90 % of them active. Each stocks 60 to 90 % of the products.
    pub stores: u32,
    /// Decides all chance; `None` makes other data each time.
    pub random_seed: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            categories: 12,
            products: 1000,
            stores: 25,
            random_seed: None,
        }
    }
}

impl Plan {
    /// About how many rows there will be, of stock for the most part.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let (products, stores) = (u64::from(self.products), u64::from(self.stores));
        u64::from(self.categories) + products + stores + products * stores * 3 / 4
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
}

/// Whether there is nothing yet that seeding would make.
pub async fn is_empty(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not (exists (select from category) or exists (select from store)) as "empty!""#
    )
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

/// Deletes all data; ids start over.
pub async fn clear(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "truncate category, product, store, inventory, orders, order_item, stock_movement, outbox,
             order_confirmation, daily_order_report restart identity"
    )
    .execute(db)
    .await
    .map(drop)
}

/// Makes the data in one transaction, and tells `progress` after each statement how many rows it wrote.
pub async fn run(db: &mut PgConnection, plan: &Plan, progress: impl Fn(u64)) -> sqlx::Result<Made> {
    let mut rng = plan
        .random_seed
        .map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
    let mut tx = db.begin().await?;
    let (categories, new_categories) = make_categories(&mut tx, plan.categories).await?;
    progress(plan.categories.into());
    let products = make_products(&mut tx, plan.products, &categories, &mut rng, &progress).await?;
    let stores = make_stores(&mut tx, plan.stores, &mut rng).await?;
    progress(plan.stores.into());
    let mut inventory = 0;
    for (index, store) in stores.iter().enumerate() {
        inventory += make_inventory(&mut tx, *store, index == 0, &products, &mut rng, &progress).await?;
    }
    tx.commit().await?;
    // So that the first plans know what is in the tables.
    sqlx::query!("analyze category, product, store, inventory, stock_movement")
        .execute(db)
        .await?;
    Ok(Made {
        categories: new_categories,
        products: products.len(),
        stores: stores.len(),
        inventory,
    })
}

/// Makes categories, or takes those of the same name; returns all of their ids and how many are new.
async fn make_categories(db: &mut PgConnection, count: u32) -> sqlx::Result<(Vec<i64>, usize)> {
    let names: Vec<String> = (0..count as usize)
        .map(|index| match CATEGORIES.get(index) {
            Some(name) => (*name).to_owned(),
            None => format!("Category {}", index + 1),
        })
        .collect();
    let new = sqlx::query!(
        "insert into category (name) select unnest($1::text[]) on conflict do nothing",
        &names
    )
    .execute(&mut *db)
    .await?
    .rows_affected();
    let ids = sqlx::query_scalar!(
        "select id from category where name = any($1) order by id",
        &names as &[String]
    )
    .fetch_all(db)
    .await?;
    Ok((ids, usize::try_from(new).unwrap_or(usize::MAX)))
}

async fn make_products(
    db: &mut PgConnection,
    count: u32,
    categories: &[i64],
    rng: &mut StdRng,
    progress: impl Fn(u64),
) -> sqlx::Result<Vec<i64>> {
    let numbers: Vec<usize> = (0..count as usize).collect();
    let mut ids = Vec::with_capacity(numbers.len());
    for batch in numbers.chunks(BATCH) {
        let mut titles = Vec::with_capacity(batch.len());
        let mut descriptions = Vec::with_capacity(batch.len());
        let mut prices = Vec::with_capacity(batch.len());
        let mut category_ids = Vec::with_capacity(batch.len());
        let mut active = Vec::with_capacity(batch.len());
        for number in batch {
            let (adjective, colour) = (pick(ADJECTIVES, rng), pick(COLOURS, rng));
            let kind = rng.random_range(0..THINGS.len());
            let thing = THINGS[kind];
            titles.push(format!("{adjective} {colour} {thing} {}", number + 1));
            descriptions.push(format!(
                "A {} {} in {}, {}.",
                adjective.to_lowercase(),
                thing.to_lowercase(),
                colour.to_lowercase(),
                pick(PRAISE, rng)
            ));
            prices.push(Money(Decimal::new(rng.random_range(199..=99_999), 2)));
            category_ids.push(category_of(kind, categories, rng));
            active.push(*number < SHOWN || rng.random_bool(0.95));
        }
        let made = sqlx::query_scalar!(
            "insert into product (title, description, price, category_id, is_active)
             select * from unnest($1::text[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[])
             returning id",
            &titles,
            &descriptions,
            &prices as &[Money],
            &category_ids,
            &active
        );
        ids.extend(made.fetch_all(&mut *db).await?);
        progress(batch.len() as u64);
    }
    ids.sort_unstable();
    Ok(ids)
}

async fn make_stores(db: &mut PgConnection, count: u32, rng: &mut StdRng) -> sqlx::Result<Vec<i64>> {
    let mut names = Vec::new();
    let mut locations = Vec::new();
    let mut active = Vec::new();
    for number in 0..count as usize {
        let city = CITIES[number % CITIES.len()];
        let branch = number / CITIES.len() + 1;
        names.push(if branch == 1 {
            format!("{city} Store")
        } else {
            format!("{city} Store {branch}")
        });
        locations.push(format!(
            "{} {}, {city}",
            rng.random_range(1..=400),
            pick(STREETS, rng)
        ));
        active.push(number == 0 || rng.random_bool(0.9));
    }
    let mut ids = sqlx::query_scalar!(
        "insert into store (name, location, is_active)
         select * from unnest($1::text[], $2::text[], $3::boolean[]) returning id",
        &names,
        &locations,
        &active
    )
    .fetch_all(db)
    .await?;
    ids.sort_unstable();
    Ok(ids)
}

/// Stocks a store with 60 to 90 % of the products. The first store always has the first products.
async fn make_inventory(
    db: &mut PgConnection,
    store: i64,
    is_first: bool,
    products: &[i64],
    rng: &mut StdRng,
    progress: impl Fn(u64),
) -> sqlx::Result<usize> {
    let share = rng.random_range(0.6..=0.9);
    let mut made = 0;
    for (number, batch) in products.chunks(BATCH).enumerate() {
        let mut product_ids = Vec::with_capacity(batch.len());
        let mut quantities = Vec::with_capacity(batch.len());
        let mut thresholds = Vec::with_capacity(batch.len());
        for (index, product) in batch.iter().enumerate() {
            let is_shown = is_first && number == 0 && index < SHOWN;
            if is_shown || rng.random_bool(share) {
                product_ids.push(*product);
                quantities.push(rng.random_range(if is_shown { 100..=500 } else { 0..=500 }));
                thresholds.push(rng.random_range(5..=20));
            }
        }
        sqlx::query!(
            "with made as (
                 insert into inventory (store_id, product_id, quantity, low_stock_threshold)
                 select $1, * from unnest($2::bigint[], $3::integer[], $4::integer[])
                 returning id, quantity
             )
             insert into stock_movement (inventory_id, kind, delta, quantity_after)
             select id, 'INITIAL', quantity, quantity from made where quantity > 0",
            store,
            &product_ids,
            &quantities,
            &thresholds
        )
        .execute(&mut *db)
        .await?;
        made += product_ids.len();
        progress(product_ids.len() as u64);
    }
    Ok(made)
}

/// The category of a kind of thing; more categories than kinds are filled by chance.
fn category_of(kind: usize, categories: &[i64], rng: &mut StdRng) -> i64 {
    if categories.len() <= THINGS.len() {
        categories[kind % categories.len()]
    } else {
        *categories.choose(rng).unwrap_or(&0)
    }
}

fn pick(words: &[&'static str], rng: &mut StdRng) -> &'static str {
    words.choose(rng).copied().unwrap_or_default()
}

const CATEGORIES: &[&str] = &[
    "Electronics",
    "Home & Kitchen",
    "Books",
    "Clothing",
    "Sports & Outdoors",
    "Toys & Games",
    "Beauty",
    "Automotive",
    "Garden",
    "Office Supplies",
    "Groceries",
    "Pet Supplies",
    "Music",
    "Tools",
    "Jewellery",
    "Health",
];
const ADJECTIVES: &[&str] = &[
    "Smart",
    "Classic",
    "Portable",
    "Premium",
    "Compact",
    "Wireless",
    "Vintage",
    "Sturdy",
    "Light",
    "Modern",
    "Foldable",
    "Quiet",
    "Organic",
    "Everyday",
    "Professional",
    "Essential",
];
const COLOURS: &[&str] = &[
    "Blue",
    "Red",
    "Black",
    "White",
    "Green",
    "Silver",
    "Golden",
    "Grey",
    "Orange",
    "Purple",
    "Turquoise",
    "Brown",
];
/// Each belongs to the category at its place, counted round.
const THINGS: &[&str] = &[
    "Headphones",
    "Kettle",
    "Cookbook",
    "Jacket",
    "Tent",
    "Puzzle",
    "Mirror",
    "Dashcam",
    "Lantern",
    "Stapler",
    "Coffee",
    "Dog Bed",
    "Speaker",
    "Toaster",
    "Atlas",
    "Scarf",
    "Backpack",
    "Board Game",
    "Hairbrush",
    "Car Mat",
    "Watering Can",
    "Notebook",
    "Tea",
    "Cat Tree",
];
const PRAISE: &[&str] = &[
    "made to last",
    "easy to clean",
    "a gift that is used",
    "tested by our own staff",
    "with a warranty of two years",
    "packed without plastic",
    "loved by our customers",
    "new this season",
];
const CITIES: &[&str] = &[
    "Amsterdam",
    "Berlin",
    "Chicago",
    "Dublin",
    "Edinburgh",
    "Florence",
    "Geneva",
    "Helsinki",
    "Istanbul",
    "Jakarta",
    "Kyoto",
    "Lisbon",
    "Madrid",
    "Nairobi",
    "Oslo",
    "Prague",
    "Quito",
    "Rome",
    "Seoul",
    "Toronto",
    "Utrecht",
    "Vienna",
    "Warsaw",
    "York",
    "Zurich",
];
const STREETS: &[&str] = &[
    "Main Street",
    "Station Road",
    "Market Square",
    "High Street",
    "Park Avenue",
    "Mill Lane",
    "Harbour Way",
];
