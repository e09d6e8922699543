//! The SQL of the list of stock. No index has all stock in one order, so it is read store by store, or product by product,
//! until a page is full.

pub mod record;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};

use crate::{
    auth::Stores,
    console::{
        low::{self, LowStock, OfStore},
        query::{PAGE_SIZE, Query},
    },
    db::ReadPool,
    product::text::push_words,
};

/// The most products that a filter selects.
const MOST_PRODUCTS: usize = 10_000;
/// The last page of a list whose rows are not counted.
pub const LAST_UNCOUNTED: i64 = 200;
/// The most stores or products that one statement reads.
const TOGETHER: usize = 500;

/// The stock of a product in a store, as a row of the list.
#[derive(Debug, FromRow)]
pub struct Row {
    /// Its id.
    pub id: i64,
    /// The name of its store.
    pub store_name: String,
    /// The title of its product.
    pub product_title: String,
    /// Whether the product is active.
    pub is_active: bool,
    /// The name of its category.
    pub category_name: String,
    /// Units in stock.
    pub quantity: i32,
    /// The quantity up to which the stock is low.
    pub low_stock_threshold: i32,
    /// Whether the stock is low.
    pub is_low: bool,
    /// When it was last written.
    pub updated_at: DateTime<Utc>,
}

impl Row {
    /// The title of the row: the product may be in several stores.
    pub fn title(&self) -> String {
        format!("{} in {}", self.product_title, self.store_name)
    }
}

/// The stock level of the listed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Any.
    Any,
    /// At or below the threshold, and active.
    Low,
    /// Empty, and active.
    Out,
}

impl Level {
    fn push_condition(self, query: &mut QueryBuilder<Postgres>) {
        if self != Self::Any {
            query.push(low::COUNTS);
        }
        if self == Self::Out {
            query.push(" and i.quantity = 0");
        }
    }
}

/// The filter and order of a list.
#[derive(Debug)]
pub struct Filter {
    /// Only in these stores.
    pub stores: Option<Vec<i64>>,
    /// Only of these products, in this order.
    pub products: Option<Vec<i64>>,
    /// Whether more products match than `products` has.
    are_cut_off: bool,
    /// The searched words.
    text: Option<String>,
    /// The category.
    category: Option<i64>,
    /// Only with this stock level.
    pub level: Level,
    /// The column, and whether the order is descending.
    pub sorted: (&'static str, bool),
}

impl Filter {
    /// Reads the filters of a query, within the stores that are granted.
    pub async fn read(db: &ReadPool, query: &mut Query, granted: &Stores) -> sqlx::Result<Self> {
        let stores = granted.intersect(query.read_id("store"));
        let is_one = stores.as_ref().is_some_and(|stores| stores.len() == 1);
        let columns: &[&str] = if is_one {
            &["title", "quantity"]
        } else {
            &["store"]
        };
        let category = query.read_id("category");
        let level = query.read_choice("state", &[("low", Level::Low), ("out", Level::Out)]);
        let sorted = query.sort(columns);
        let text = query.get("q");
        let mut products = query.rows(products(db, text, category)).await?;
        let are_cut_off = products
            .as_ref()
            .is_some_and(|products| products.len() > MOST_PRODUCTS);
        if let Some(products) = &mut products {
            products.truncate(MOST_PRODUCTS);
        }
        Ok(Self {
            products,
            are_cut_off,
            text: text.map(str::to_owned),
            category,
            level: level.unwrap_or(Level::Any),
            sorted,
            stores,
        })
    }

    /// The store, if there is only one.
    pub fn store(&self) -> Option<i64> {
        match self.stores.as_deref() {
            Some([only]) => Some(*only),
            _ => None,
        }
    }

    /// Whether the list can be sorted by a column: within a store by title or quantity, else by store. Others have no index.
    pub fn is_sortable(&self, column: &str) -> bool {
        match column {
            "store" => self.products.is_none() && self.store().is_none(),
            _ => self.store().is_some(),
        }
    }

    /// Whether the list may miss stock. The list of one store misses none: it reads all rows of the store.
    pub fn misses_products(&self) -> bool {
        self.are_cut_off && self.store().is_none()
    }
}

/// The products of the filter by words and category, if there is one: at most one more than the limit.
async fn products(
    db: &ReadPool,
    text: Option<&str>,
    category: Option<i64>,
) -> sqlx::Result<Option<Vec<i64>>> {
    let mut query = QueryBuilder::new("select id from product p where ");
    match (text, category) {
        (None, None) => return Ok(None),
        (None, Some(category)) => drop(query.push("category_id = ").push_bind(category)),
        (Some(text), category) => {
            // The text index has active products only; the inactive ones are few.
            query.push("id in (select p.id from product p where p.is_active and ");
            push_words(&mut query, text);
            query.push(" union all select p.id from product p where not p.is_active and ");
            push_words(&mut query, text);
            query.push(")");
            if let Some(category) = category {
                query.push(" and category_id = ").push_bind(category);
            }
        }
    }
    query
        .push(" order by title, id limit ")
        .push_bind(i64::try_from(MOST_PRODUCTS + 1).unwrap_or(i64::MAX));
    let found = query.build_query_scalar().persistent(false).fetch_all(db).await?;
    Ok(Some(found))
}

/// A page with one row more than fits, and the number of all rows if it is counted.
pub async fn page(db: &ReadPool, filter: &Filter, query: &Query) -> sqlx::Result<(Vec<Row>, Option<i64>)> {
    let (shelves, counted) = match &filter.products {
        Some(_) => (Vec::new(), false),
        None => shelves(db, filter).await?,
    };
    let count = counted.then(|| shelves.iter().map(|shelf| shelf.rows).sum());
    let page = if counted {
        query.page()
    } else {
        query.page().min(LAST_UNCOUNTED)
    };
    let mut skip = (page - 1) * PAGE_SIZE;
    let ids = if let Some(store) = filter.store() {
        in_store(db, filter, store, skip).await?
    } else if let Some(products) = &filter.products {
        walk(db, filter, products, By::Product, skip).await?
    } else {
        let mut stores = &shelves[..];
        while let [first, rest @ ..] = stores
            && counted
            && first.rows <= skip
        {
            skip -= first.rows;
            stores = rest;
        }
        let stores: Vec<i64> = stores.iter().map(|shelf| shelf.store_id).collect();
        walk(db, filter, &stores, By::Store, skip).await?
    };
    Ok((rows(db, &ids).await?, count))
}

/// The number of rows of a store.
struct Shelf {
    store_id: i64,
    rows: i64,
}

/// The stores that have rows, in the order of the list, and whether their rows are counted: the tally has them all, and low
/// rows are counted up to a limit; beyond it the list has the stores that have low rows according to the tally.
async fn shelves(db: &ReadPool, filter: &Filter) -> sqlx::Result<(Vec<Shelf>, bool)> {
    let low = match filter.level {
        Level::Any => None,
        Level::Low | Level::Out => Some(LowStock::count(db, filter.stores.as_deref()).await?),
    };
    let (mut shelves, counted) = match low {
        Some(low) if !low.is_cut_off => {
            let rows = |store: &OfStore| match filter.level {
                Level::Out => store.out,
                _ => store.low,
            };
            let shelf = |store: &OfStore| Shelf {
                store_id: store.store_id,
                rows: rows(store),
            };
            (low.stores.iter().map(shelf).collect(), true)
        }
        low => (tallied(db, filter).await?, low.is_none()),
    };
    shelves.retain(|shelf| shelf.rows > 0);
    if filter.sorted == ("store", true) {
        shelves.reverse();
    }
    Ok((shelves, counted))
}

async fn tallied(db: &ReadPool, filter: &Filter) -> sqlx::Result<Vec<Shelf>> {
    sqlx::query_as!(
        Shelf,
        r#"select s.id as store_id, sum(case when $2 then low else stocked end)::bigint as "rows!"
           from store s join stock_tally t on t.store_id = s.id
           where ($1::bigint[] is null or s.id = any($1)) and (s.is_active or not $2)
           group by s.id order by s.name, s.id"#,
        filter.stores.as_deref(),
        filter.level != Level::Any
    )
    .fetch_all(db)
    .await
}

async fn in_store(db: &ReadPool, filter: &Filter, store: i64, skip: i64) -> sqlx::Result<Vec<i64>> {
    let mut query = QueryBuilder::new("select i.id from inventory i");
    if filter.are_cut_off {
        query.push(" join product p on p.id = i.product_id");
    }
    query.push(" where i.store_id = ").push_bind(store);
    filter.level.push_condition(&mut query);
    match &filter.products {
        // So many that the store's rows are soon walked to a page of them.
        Some(_) if filter.are_cut_off => push_matching(&mut query, filter),
        Some(products) => {
            query
                .push(" and i.product_id = any(")
                .push_bind(products)
                .push(")");
        }
        None => {}
    }
    query.push(match filter.sorted {
        ("quantity", false) => " order by i.quantity, i.product_title, i.id",
        ("quantity", true) => " order by i.quantity desc, i.product_title, i.id",
        (_, false) => " order by i.product_title, i.id",
        (_, true) => " order by i.product_title desc, i.id desc",
    });
    query.push(" limit ").push_bind(PAGE_SIZE + 1);
    query.push(" offset ").push_bind(skip);
    query.build_query_scalar().persistent(false).fetch_all(db).await
}

fn push_matching(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(text) = &filter.text {
        query.push(" and ");
        push_words(query, text);
    }
    if let Some(category) = filter.category {
        query.push(" and p.category_id = ").push_bind(category);
    }
}

/// How a list is read.
#[derive(Clone, Copy)]
enum By {
    Store,
    Product,
}

/// The ids of a page, after so many rows of `groups`: more and more of them are read together until there are enough.
async fn walk(
    db: &ReadPool,
    filter: &Filter,
    groups: &[i64],
    by: By,
    mut skip: i64,
) -> sqlx::Result<Vec<i64>> {
    let wanted = PAGE_SIZE + 1;
    let (mut groups, mut size) = (groups, 1);
    let mut found = Vec::new();
    while !groups.is_empty() && (found.len() as u64) < wanted.unsigned_abs() {
        let (now, rest) = groups.split_at(size.min(groups.len()));
        let missing = wanted - i64::try_from(found.len()).unwrap_or(wanted);
        let ids = of_groups(db, filter, now, by, skip + missing).await?;
        let skipped = skip.min(i64::try_from(ids.len()).unwrap_or(skip));
        found.extend(
            ids.into_iter()
                .skip(usize::try_from(skipped).unwrap_or(usize::MAX)),
        );
        skip -= skipped;
        (groups, size) = (rest, (size * 2).min(TOGETHER));
    }
    Ok(found)
}

async fn of_groups(
    db: &ReadPool,
    filter: &Filter,
    groups: &[i64],
    by: By,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    let mut query = QueryBuilder::<Postgres>::new("select i.id from unnest(");
    query.push_bind(groups);
    query.push("::bigint[]) with ordinality as g (id, place) cross join lateral (select i.id, ");
    query.push(match by {
        By::Store => "i.product_title as name from inventory i where i.store_id = g.id",
        By::Product => "s.name from inventory i join store s on s.id = i.store_id where i.product_id = g.id",
    });
    filter.level.push_condition(&mut query);
    if let (By::Product, Some(stores)) = (by, &filter.stores) {
        query.push(" and i.store_id = any(").push_bind(stores).push(")");
    }
    query.push(" order by name, i.id limit ").push_bind(limit);
    query
        .push(") i order by g.place, i.name, i.id limit ")
        .push_bind(limit);
    query.build_query_scalar().persistent(false).fetch_all(db).await
}

async fn rows(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"select i.id, s.name as store_name, i.product_title, p.is_active, c.name as category_name, i.quantity,
               i.low_stock_threshold, i.is_low as "is_low!", i.updated_at
           from unnest($1::bigint[]) with ordinality as g (id, place) join inventory i on i.id = g.id
               join store s on s.id = i.store_id join product p on p.id = i.product_id
               join category c on c.id = p.category_id
           order by g.place"#,
        ids
    )
    .fetch_all(db)
    .await
}
