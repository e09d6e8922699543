//! The choices that controls offer.

use std::collections::HashMap;

use sqlx::{FromRow, PgExecutor, QueryBuilder};

use super::error::ConsoleError;
use crate::{
    auth::Stores,
    http::AppState,
    money::Money,
    product::text::{has_indexed_word, push_words},
};

/// The most choices of a control.
const MOST_STORES: i64 = 2000;
/// The most results of a product search.
pub const MOST_PRODUCTS: i64 = 20;

/// A choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// A store with its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: i64,
    /// Its name, which is not unique.
    pub name: String,
    /// Its location.
    pub location: String,
}

/// Names stores so that they differ: a name that several stores have gets the location, and if that is equal too, the id.
pub fn told_apart(stores: Vec<Named>) -> Vec<Choice> {
    let mut of_name = HashMap::<String, i32>::new();
    let mut of_both = HashMap::<(String, String), i32>::new();
    for store in &stores {
        *of_name.entry(store.name.clone()).or_default() += 1;
        *of_both
            .entry((store.name.clone(), store.location.clone()))
            .or_default() += 1;
    }
    let choice = |Named { id, name, location }| {
        let is_alone = of_name.get(&name).is_none_or(|stores| *stores == 1);
        let both = (name, location);
        let name = match of_both.get(&both) {
            _ if is_alone => both.0,
            Some(1) => format!("{}, {}", both.0, both.1),
            _ => format!("{}, {} ({id})", both.0, both.1),
        };
        Choice { id, name }
    };
    stores.into_iter().map(choice).collect()
}

/// The granted stores, by name.
pub async fn stores(db: impl PgExecutor<'_>, granted: &Stores) -> sqlx::Result<Vec<Choice>> {
    named_stores(db, granted, false).await
}

/// The granted stores that take orders, by name.
pub async fn open_stores(db: impl PgExecutor<'_>, granted: &Stores) -> sqlx::Result<Vec<Choice>> {
    named_stores(db, granted, true).await
}

async fn named_stores(
    db: impl PgExecutor<'_>,
    granted: &Stores,
    only_active: bool,
) -> sqlx::Result<Vec<Choice>> {
    let granted = granted.as_sql_param();
    let found = sqlx::query_as!(
        Named,
        "select id, name, location from store
         where (is_active or not $3) and ($1::bigint[] is null or id = any($1)) order by name, id limit $2",
        granted.as_deref(),
        MOST_STORES,
        only_active
    );
    Ok(told_apart(found.fetch_all(db).await?))
}

/// Whether there are more choices than shown, so the chosen one may be missing.
pub fn are_cut_off(choices: &[Choice]) -> bool {
    i64::try_from(choices.len()).is_ok_and(|offered| offered >= MOST_STORES)
}

/// The categories, by name.
pub async fn categories(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Choice>> {
    sqlx::query_as!(
        Choice,
        "select id, name from category order by name limit $1",
        MOST_STORES
    )
    .fetch_all(db)
    .await
}

/// A product that a search found.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct FoundProduct {
    /// Its id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// Its price.
    pub price: Money,
    /// Units in the store; `None` if the store does not sell the product.
    pub quantity: Option<i32>,
}

/// Active products with each word of `text` in their title, description or category, by title, with their stock in `store`.
/// With `stocked`, only products that the store sells.
pub async fn products(
    app: &AppState,
    store: i64,
    text: &str,
    stocked: bool,
) -> Result<Vec<FoundProduct>, ConsoleError> {
    let is_scan = !has_indexed_word(text);
    let _permit = app.scans.permit_if(is_scan).await?;
    let mut query = QueryBuilder::new("");
    if stocked && is_scan {
        // Reading the products of one store soon finds a few that match.
        query
            .push(
                "select p.id, p.title, p.price, i.quantity from inventory i join product p on p.id = i.product_id
                 where i.store_id = ",
            )
            .push_bind(store)
            .push(" and p.is_active and ");
        push_words(&mut query, text);
        query.push(" order by i.product_title, i.id limit ");
    } else {
        query.push(
            "with matching as materialized (select p.id, p.title, p.price from product p where p.is_active and ",
        );
        push_words(&mut query, text);
        query
            .push(
                " limit 5000)
                 select p.id, p.title, p.price, i.quantity
                 from matching p left join inventory i on i.product_id = p.id and i.store_id = ",
            )
            .push_bind(store);
        query.push(" where i.id is not null or not ").push_bind(stocked);
        query.push(" order by p.title, p.id limit ");
    }
    query.push_bind(MOST_PRODUCTS);
    Ok(query
        .build_query_as()
        .persistent(false)
        .fetch_all(&app.database.reads)
        .await?)
}

/// Products by id, active or not, with their stock in `store`.
pub async fn products_by_id(
    db: impl PgExecutor<'_>,
    store: Option<i64>,
    ids: &[i64],
) -> sqlx::Result<Vec<FoundProduct>> {
    sqlx::query_as!(
        FoundProduct,
        r#"select p.id, p.title, p.price as "price: Money", i.quantity as "quantity?"
           from product p left join inventory i on i.product_id = p.id and i.store_id = $2 where p.id = any($1)"#,
        ids,
        store
    )
    .fetch_all(db)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_the_same_name_are_shown_with_location_and_id() {
        let store = |id, name: &str, location: &str| Named {
            id,
            name: name.into(),
            location: location.into(),
        };
        let told = told_apart(vec![
            store(1, "Delft", "Markt"),
            store(2, "Ede", "Markt"),
            store(3, "Ede", "Plein"),
            store(4, "Ede", "Plein"),
        ]);
        let names: Vec<&str> = told.iter().map(|choice| choice.name.as_str()).collect();
        assert_eq!(names, ["Delft", "Ede, Markt", "Ede, Plein (3)", "Ede, Plein (4)"]);
    }
}
