//! Creates and changes products by their SKU: one by PUT, or up to 1,000 in one request.

use std::collections::HashMap;

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    codes::{self, Named},
    model::{Product, ProductFields},
    queries,
};
use crate::{
    audit::{self, Entry},
    category,
    db::{self, violated_constraint},
    http::{ApiError, BatchMode, CommandContext, FieldErrors, PutConditions},
    ledger,
};

/// Attempts if concurrent requests take the same codes.
const ATTEMPTS: usize = 10;

/// A product that is named by its SKU.
#[derive(Debug)]
pub(super) struct ProductBySku {
    pub sku: String,
    /// The other fields. Absent ones keep their values; a new product needs the required ones.
    pub fields: ProductFields,
}

/// The outcome of an item.
#[derive(Debug)]
pub(super) enum Outcome {
    Created(Product),
    Updated(Product),
    Unchanged(Product),
    Failed(FieldErrors),
    /// Another item failed, so nothing was written.
    Skipped,
}

/// How an item is written.
enum Plan<'a> {
    Create,
    Update(&'a Product),
    Keep(&'a Product),
    Fail(FieldErrors),
}

/// Writes products, and commits with the status and the response that `answer` makes of the outcomes.
pub(super) async fn upsert<A: Serialize>(
    context: &CommandContext,
    items: &[ProductBySku],
    mode: BatchMode,
    conditions: Option<&PutConditions>,
    answer: impl Fn(Vec<Outcome>) -> Result<(StatusCode, A), ApiError>,
) -> Result<(StatusCode, A), ApiError> {
    for _ in 0..ATTEMPTS {
        let answered = db::retry(|| attempt(context, items, mode, conditions, &answer)).await?;
        if let Some(answered) = answered {
            return Ok(answered);
        }
    }
    Err(ApiError::Unavailable(
        "Other requests change the same products. Try again.",
    ))
}

/// Decides, writes and commits. `None` if a concurrent request took one of the codes or deleted a category: then it decides
/// again.
async fn attempt<A: Serialize>(
    context: &CommandContext,
    items: &[ProductBySku],
    mode: BatchMode,
    conditions: Option<&PutConditions>,
    answer: impl Fn(Vec<Outcome>) -> Result<(StatusCode, A), ApiError>,
) -> Result<Option<(StatusCode, A)>, ApiError> {
    let mut tx = context.db().begin().await?;
    let Some(state) = State::lock(&mut tx, items).await? else {
        return Ok(None);
    };
    let mut plans = Vec::with_capacity(items.len());
    for item in items {
        plans.push(state.plan(item, conditions)?);
    }
    if mode == BatchMode::AllOrNothing && plans.iter().any(|plan| matches!(plan, Plan::Fail(_))) {
        return answer(plans.into_iter().map(Plan::refused).collect()).map(Some);
    }
    let Some(ids) = write(&mut tx, items, &plans).await? else {
        return Ok(None);
    };
    let written = by_id(queries::get_all(&mut *tx, &ids).await?);
    record(context, &mut tx, &plans, &ids, &written).await?;
    let (status, answer) = answer(outcomes(plans, &ids, written)?)?;
    context.commit_answer(tx, status, &answer).await?;
    Ok(Some((status, answer)))
}

/// What the items refer to, locked.
struct State {
    products: HashMap<i64, Product>,
    codes: HashMap<String, Named>,
    categories: Vec<i64>,
}

impl State {
    /// Reads and locks. A change of a title locks the product's stock rows first, because they carry the title.
    async fn lock(tx: &mut PgConnection, items: &[ProductBySku]) -> Result<Option<Self>, ApiError> {
        let codes: Vec<&str> = items.iter().flat_map(|item| item.fields.all_codes()).collect();
        let codes = codes::find_all(&mut *tx, &codes).await?;
        let existing: Vec<(i64, &ProductBySku)> = items
            .iter()
            .filter_map(|item| Some((id_of(&codes, &item.sku)?, item)))
            .collect();
        let ids: Vec<i64> = existing.iter().map(|(id, _)| *id).collect();
        let before = by_id(queries::get_all(&mut *tx, &ids).await?);
        let renamed = existing.iter().filter(|(id, item)| {
            let title = before.get(id).map(|product| &product.title);
            item.fields.title.as_ref().is_some_and(|new| Some(new) != title)
        });
        let renamed: Vec<i64> = renamed.map(|(id, _)| *id).collect();
        if !renamed.is_empty() {
            ledger::lock_products(&mut *tx, &renamed).await?;
        }
        let products = by_id(queries::lock_all(&mut *tx, &ids).await?);
        let wanted: Vec<i64> = items.iter().filter_map(|item| item.fields.category()).collect();
        let is_current = existing.iter().all(|(id, item)| {
            let product = products.get(id);
            product.is_some_and(|product| product.sku.as_deref() == Some(&item.sku))
        });
        Ok(is_current.then_some(Self {
            products,
            codes,
            categories: category::existing(tx, &wanted).await?,
        }))
    }

    fn plan<'a>(
        &'a self,
        item: &ProductBySku,
        conditions: Option<&PutConditions>,
    ) -> Result<Plan<'a>, ApiError> {
        let current = id_of(&self.codes, &item.sku).and_then(|id| self.products.get(&id));
        if let Some(conditions) = conditions {
            conditions.require(current)?;
        }
        let errors = self.errors(item, current);
        Ok(match current {
            _ if !errors.is_empty() => Plan::Fail(FieldErrors::Fields(errors)),
            None => Plan::Create,
            Some(product) if item.fields.changes(product) => Plan::Update(product),
            Some(product) => Plan::Keep(product),
        })
    }

    fn errors(&self, item: &ProductBySku, current: Option<&Product>) -> Vec<(&'static str, FieldErrors)> {
        let fields = &item.fields;
        let missing = if current.is_none() {
            fields.missing()
        } else {
            vec![]
        };
        let mut errors: Vec<_> = missing
            .into_iter()
            .map(|name| (name, FieldErrors::message("This field is required.")))
            .collect();
        if let Some(category) = &fields.category_id
            && !self.categories.contains(&category.id)
        {
            errors.push(("category_id", FieldErrors::message(category.missing())));
        }
        let owner = current.map(|product| product.id);
        let taken = |code: &&str| {
            let named = self.codes.get(*code);
            named.is_some_and(|named| Some(named.product_id) != owner)
        };
        if let Some(code) = fields.all_codes().find(taken) {
            let field = if code == item.sku { "sku" } else { "barcodes" };
            errors.push((field, codes::taken(code)));
        }
        errors
    }
}

impl Plan<'_> {
    /// The outcome if nothing is written.
    fn refused(self) -> Outcome {
        match self {
            Self::Fail(errors) => Outcome::Failed(errors),
            _ => Outcome::Skipped,
        }
    }

    fn is_written(&self) -> bool {
        matches!(self, Self::Create | Self::Update(_))
    }
}

/// Creates and updates. Returns the ids of these products in the sequence of their items.
async fn write(
    tx: &mut PgConnection,
    items: &[ProductBySku],
    plans: &[Plan<'_>],
) -> Result<Option<Vec<i64>>, ApiError> {
    let (mut new, mut changed, mut changed_ids) = (vec![], vec![], vec![]);
    for (item, plan) in items.iter().zip(plans) {
        match plan {
            Plan::Create => new.push(&item.fields),
            Plan::Update(product) => {
                changed.push(&item.fields);
                changed_ids.push(product.id);
            }
            Plan::Keep(_) | Plan::Fail(_) => {}
        }
    }
    let written = async {
        queries::update_all(&mut *tx, &changed_ids, &changed).await?;
        queries::insert_all(&mut *tx, &new).await
    };
    let mut new_ids = match written.await {
        Err(error) if violated_constraint(&error) == Some("product_category_id_fkey") => return Ok(None),
        written => written?.into_iter(),
    };
    let mut changed_ids = changed_ids.into_iter();
    let written = items.iter().zip(plans).filter(|(_, plan)| plan.is_written());
    let (ids, codes): (Vec<i64>, Vec<_>) = written
        .filter_map(|(item, plan)| {
            let id = match plan {
                Plan::Create => new_ids.next(),
                _ => changed_ids.next(),
            }?;
            Some((id, item.fields.codes(id)))
        })
        .unzip();
    let taken = codes::replace(tx, &codes).await?;
    Ok(taken.is_none().then_some(ids))
}

/// Adds an audit entry for each product that was written.
async fn record(
    context: &CommandContext,
    tx: &mut PgConnection,
    plans: &[Plan<'_>],
    ids: &[i64],
    written: &HashMap<i64, Product>,
) -> sqlx::Result<()> {
    let plans = plans.iter().filter(|plan| plan.is_written());
    let entries = plans.zip(ids).map(|(plan, id)| {
        let (action, before) = match plan {
            Plan::Update(before) => ("product.changed", Some(*before)),
            _ => ("product.created", None),
        };
        Entry {
            action,
            subject: Some(format!("product:{id}")),
            states: (before, written.get(id)),
        }
    });
    audit::record_all(tx, &context.audit_context(), entries).await
}

fn outcomes(
    plans: Vec<Plan<'_>>,
    ids: &[i64],
    mut written: HashMap<i64, Product>,
) -> Result<Vec<Outcome>, ApiError> {
    let mut ids = ids.iter();
    let mut next = || {
        let product = ids.next().and_then(|id| written.remove(id));
        product.ok_or_else(|| ApiError::Internal("a product is missing after it was written".into()))
    };
    let outcomes = plans.into_iter().map(|plan| {
        Ok(match plan {
            Plan::Create => Outcome::Created(next()?),
            Plan::Update(_) => Outcome::Updated(next()?),
            Plan::Keep(product) => Outcome::Unchanged(product.clone()),
            Plan::Fail(errors) => Outcome::Failed(errors),
        })
    });
    outcomes.collect()
}

fn id_of(codes: &HashMap<String, Named>, sku: &str) -> Option<i64> {
    let named = codes.get(sku).filter(|named| named.is_sku)?;
    Some(named.product_id)
}

fn by_id(products: Vec<Product>) -> HashMap<i64, Product> {
    products
        .into_iter()
        .map(|product| (product.id, product))
        .collect()
}
