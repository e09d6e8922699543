//! The stores that accounts and keys are limited to: their names, and the part of a form that chooses them.

use std::collections::HashMap;

use sqlx::PgExecutor;

use crate::console::{
    edit,
    form::{Form, WAS},
    options::{self, Named},
};

/// The most stores with a box. The form takes the ids of others.
const OFFERED: i32 = 100;

/// The stores of a form.
pub struct Offer {
    /// Stores with a box.
    pub stores: Vec<Offered>,
    /// Whether there are others.
    pub more: bool,
}

/// A store with a box.
pub struct Offered {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it takes orders.
    pub is_active: bool,
}

/// The names of the stores of an account or key; none for all stores, or if the stores are deleted.
pub async fn names(db: impl PgExecutor<'_>, bound: Option<&[i64]>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select name from store where id = any($1) order by name, id",
        bound.unwrap_or_default()
    )
    .fetch_all(db)
    .await
}

/// The stores of each of `bindings` as a short text.
pub async fn words(
    db: impl PgExecutor<'_>,
    bindings: impl Iterator<Item = Option<&[i64]>> + Clone,
) -> sqlx::Result<Vec<String>> {
    let ids: Vec<i64> = bindings.clone().flatten().flatten().copied().collect();
    let found = sqlx::query!("select id, name from store where id = any($1)", &ids);
    let found = found.fetch_all(db).await?;
    let names: HashMap<i64, String> = found.into_iter().map(|store| (store.id, store.name)).collect();
    let word = |bound: Option<&[i64]>| match bound {
        None => "All".to_owned(),
        Some(bound) => {
            let mut known: Vec<&str> = bound
                .iter()
                .filter_map(|id| names.get(id))
                .map(String::as_str)
                .collect();
            known.sort_unstable();
            match known[..] {
                [] => "None".to_owned(),
                [one] => one.to_owned(),
                [one, other] => format!("{one}, {other}"),
                [one, ..] => format!("{one} and {} more", known.len() - 1),
            }
        }
    };
    Ok(bindings.map(word).collect())
}

/// The stores that a form offers: the first ones by name, and the chosen ones.
pub async fn offer(db: impl PgExecutor<'_>, form: &Form) -> sqlx::Result<Offer> {
    let chosen: Vec<i64> = form.all("store").filter_map(|id| id.parse().ok()).collect();
    let found = sqlx::query!(
        r#"select id, name, location, is_active, (select count(*) from (select from store limit $1 + 1) s) > $1 as "more!" from store
           where id in (select id from store order by name, id limit $1) or id = any($2) order by name, id"#,
        OFFERED,
        &chosen
    );
    let found = found.fetch_all(db).await?;
    let more = found.iter().any(|store| store.more);
    let active: Vec<bool> = found.iter().map(|store| store.is_active).collect();
    let named = found.into_iter().map(|store| Named {
        id: store.id,
        name: store.name,
        location: store.location,
    });
    let named = options::told_apart(named.collect()).into_iter();
    let stores = named.zip(active).map(|(store, is_active)| Offered {
        id: store.id.to_string(),
        name: store.name,
        is_active,
    });
    Ok(Offer {
        stores: stores.collect(),
        more,
    })
}

/// Fills in the stores of an account or key.
pub fn fill(form: Form, bound: Option<&[i64]>) -> Form {
    let word = if bound.is_some() { "some" } else { "all" };
    let stores = bound.unwrap_or_default().iter();
    stores.fold(form.and("bound", word.to_owned()), |form, store| {
        form.and("store", store.to_string())
    })
}

/// The stores as one text, as an edit compares them; blank for all.
pub fn text(bound: Option<&[i64]>) -> String {
    let ids: Vec<String> = bound.unwrap_or_default().iter().map(i64::to_string).collect();
    ids.join(",")
}

/// Restores the original stores of a form if the page of a conflict says *Keep theirs*.
pub fn resolve(form: &mut Form) {
    if !edit::keeps_theirs(form, "stores") {
        return;
    }
    let stores = form.text(&format!("{WAS}stores")).to_owned();
    form.set("store", String::new());
    form.set("bound", if stores.is_empty() { "all" } else { "some" }.to_owned());
    form.set("more_stores", stores);
}

/// The names of the stores of such a text.
pub async fn named(db: impl PgExecutor<'_>, text: &str) -> sqlx::Result<String> {
    if text.is_empty() {
        return Ok("All stores".to_owned());
    }
    let ids: Vec<i64> = text.split(',').filter_map(|id| id.parse().ok()).collect();
    Ok(names(db, Some(&ids)).await?.join(", "))
}

/// Reads the chosen stores: `None` for all stores. An unknown store is an error of the form.
pub async fn read(db: impl PgExecutor<'_>, form: &mut Form) -> sqlx::Result<Option<Vec<i64>>> {
    if form.text("bound") != "some" {
        return Ok(None);
    }
    let typed = form
        .text("more_stores")
        .split([',', ' '])
        .filter(|id| !id.is_empty());
    let chosen = form.all("store").filter(|id| !id.is_empty());
    let texts: Vec<String> = chosen.chain(typed).map(str::to_owned).collect();
    let mut ids = Vec::new();
    for text in texts {
        match text.parse::<i64>() {
            Ok(id) => ids.push(id),
            Err(_) => form.add_error("stores", format!("“{text}” is not a store id.")),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let there = sqlx::query_scalar!("select id from store where id = any($1)", &ids);
    let there = there.fetch_all(db).await?;
    for id in ids.iter().filter(|id| !there.contains(id)) {
        form.add_error("stores", format!("Store {id} does not exist."));
    }
    Ok(Some(ids))
}
