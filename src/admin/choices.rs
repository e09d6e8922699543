//! What a control offers to choose from.

use std::collections::HashMap;

use sqlx::{PgExecutor, PgPool};

use super::query::pattern;
use crate::{access::Stores, money::Money};

/// Stores that a control offers, at most: more than that nobody looks through.
const MOST_STORES: i64 = 2000;
/// Products that a search finds, at most.
pub const MOST_PRODUCTS: i64 = 20;

/// Something to choose by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its id.
    pub id: i64,
    /// What it is called.
    pub name: String,
}

/// A store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: i64,
    /// What it is called; others may be called the same.
    pub name: String,
    /// Where it is.
    pub location: String,
}

/// Stores in the same order, each by a name that no other of them has: where that is not its own alone, with the location,
/// and where even that is the same, with the id.
#[must_use]
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

/// The stores among those that are granted, active or not, by name.
pub async fn stores(db: impl PgExecutor<'_>, granted: &Stores) -> sqlx::Result<Vec<Choice>> {
    let granted = granted.to_column();
    let found = sqlx::query_as!(
        Named,
        "select id, name, location from store where $1::bigint[] is null or id = any($1) order by name, id limit $2",
        granted.as_deref(),
        MOST_STORES
    );
    Ok(told_apart(found.fetch_all(db).await?))
}

/// Those of them that take orders.
pub async fn open_stores(db: impl PgExecutor<'_>, granted: &Stores) -> sqlx::Result<Vec<Choice>> {
    let granted = granted.to_column();
    let found = sqlx::query_as!(
        Named,
        "select id, name, location from store where is_active and ($1::bigint[] is null or id = any($1))
         order by name, id limit $2",
        granted.as_deref(),
        MOST_STORES
    );
    Ok(told_apart(found.fetch_all(db).await?))
}

/// Whether a choice was cut off: what is chosen may not be among what is offered.
#[must_use]
pub fn are_cut_off(choices: &[Choice]) -> bool {
    i64::try_from(choices.len()).is_ok_and(|offered| offered >= MOST_STORES)
}

/// All categories by name, as many as a control offers.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProduct {
    /// Its id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// What it costs.
    pub price: Money,
    /// How many pieces the store has; none where it does not keep the product.
    pub quantity: Option<i32>,
}

/// Active products with `text` in their title, description or category, by title, and what `store` has of them.
/// With `stocked` only those that the store keeps.
pub async fn products(db: &PgPool, store: i64, text: &str, stocked: bool) -> sqlx::Result<Vec<FoundProduct>> {
    let pattern = pattern(text);
    if stocked && text.chars().count() < 3 {
        // Too short for the index of the text, but what the store keeps is soon walked to a few that match.
        return sqlx::query_as!(
            FoundProduct,
            r#"select p.id, p.title, p.price as "price: Money", i.quantity as "quantity?"
               from inventory i join product p on p.id = i.product_id
               where i.store_id = $1 and p.is_active and fold(i.product_title) like fold($2)
               order by i.product_title, i.id limit $3"#,
            store,
            pattern,
            MOST_PRODUCTS
        )
        .fetch_all(db)
        .await;
    }
    sqlx::query_as!(
        FoundProduct,
        r#"with matching as materialized (
               select id, title, price from product where is_active and search_text like fold($2) limit 5000
           )
           select p.id as "id!", p.title as "title!", p.price as "price!: Money", i.quantity as "quantity?"
           from matching p left join inventory i on i.store_id = $1 and i.product_id = p.id
           where i.id is not null or not $4
           order by p.title, p.id limit $3"#,
        store,
        pattern,
        MOST_PRODUCTS,
        stocked
    )
    .fetch_all(db)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_the_same_name_are_told_apart() {
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
