//! Categories, products and stores.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{
    BATCH, Plan, Progress, SHOWN, codes, indexes,
    words::{ADJECTIVES, CATEGORIES, CITIES, COLOURS, PRAISE, STREETS, THINGS, pick},
};
use crate::money::Money;

/// Creates categories, or reuses those with the same name. Returns all ids and the number of new ones.
pub(super) async fn make_categories(db: &mut PgConnection, count: u32) -> sqlx::Result<(Vec<i64>, usize)> {
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

/// The created products by id, as columns, because there may be millions.
#[derive(Default)]
pub(super) struct Products {
    pub ids: Vec<i64>,
    pub titles: Vec<Box<str>>,
}

/// Creates products.
pub(super) async fn make_products(
    db: &mut PgConnection,
    plan: &Plan,
    categories: &[i64],
    rng: &mut StdRng,
    progress: impl Fn(Progress),
) -> sqlx::Result<Products> {
    let indexes = indexes::set_aside(db, "product", plan.products as usize).await?;
    progress(Progress::Stage("products"));
    let numbers: Vec<usize> = (0..plan.products as usize).collect();
    let mut products = Products::default();
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
            "insert into product (title, description, price, category_id, is_active, created_at, updated_at)
             select made.*, now() - make_interval(days => $6), now() - make_interval(days => $6)
             from unnest($1::text[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[]) made
             returning id",
            &titles,
            &descriptions,
            &prices as &[Money],
            &category_ids,
            &active,
            plan.age()
        );
        let ids = made.fetch_all(&mut *db).await?;
        codes::make(&mut *db, &ids).await?;
        products.ids.extend(ids);
        products
            .titles
            .extend(titles.into_iter().map(String::into_boxed_str));
        progress(Progress::Rows(batch.len()));
    }
    products.ids.sort_unstable();
    progress(Progress::Stage("indexes of products"));
    indexes.restore(db).await?;
    Ok(products)
}

/// The category of a kind of product; categories beyond the number of kinds are chosen at random.
fn category_of(kind: usize, categories: &[i64], rng: &mut StdRng) -> i64 {
    if categories.len() <= THINGS.len() {
        categories[kind % categories.len()]
    } else {
        *categories.choose(rng).unwrap_or(&0)
    }
}

/// Creates stores, and returns their ids in ascending order.
pub(super) async fn make_stores(
    db: &mut PgConnection,
    plan: &Plan,
    rng: &mut StdRng,
) -> sqlx::Result<Vec<i64>> {
    let mut names = Vec::new();
    let mut locations = Vec::new();
    let mut active = Vec::new();
    for number in 0..plan.stores as usize {
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
        "insert into store (name, location, is_active, created_at, updated_at)
         select made.*, now() - make_interval(days => $4), now() - make_interval(days => $4)
         from unnest($1::text[], $2::text[], $3::boolean[]) made
         returning id",
        &names,
        &locations,
        &active,
        plan.age()
    )
    .fetch_all(db)
    .await?;
    ids.sort_unstable();
    Ok(ids)
}
