//! `POST /api/products/bulk/` and `PUT /api/products/by-sku/{sku}/`: products as an integration keeps them, by SKU.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{
    codes,
    model::{Product, ProductFields, repeats},
    queries,
    upsert::{Outcome, ProductBySku, upsert},
};
use crate::http::{
    Answered, ApiError, BatchMode, CommandContext, FieldErrors, FieldSource, Fields, MOST_ITEMS, Nullable,
    Presence, PutConditions, Tagged, code_of_text,
};

/// Products to create or change.
#[derive(Debug, ToSchema)]
pub struct NewProducts {
    /// `all_or_nothing` writes nothing if a product fails; `per_item` writes the others.
    #[schema(value_type = Option<String>, default = "all_or_nothing", nullable = false)]
    mode: BatchMode,
    /// The products. Each code may appear once.
    #[schema(min_items = 1, max_items = 1000)]
    products: Vec<ProductBySku>,
}

impl NewProducts {
    /// Reads the fields; `None` if one is absent or invalid.
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let mode = BatchMode::read(fields);
        let products = fields.required_list("products", MOST_ITEMS, ProductBySku::read)?;
        if repeats(products.iter().flat_map(|product| product.fields.all_codes())) {
            fields.reject("products", "Each code may appear once.");
        }
        Some(Self { mode, products })
    }
}

impl ProductBySku {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.allow_missing();
        let read = ProductFields::read(fields);
        if read.sku.value().is_none() {
            fields.reject("sku", "This field is required.");
        }
        Some(Self {
            sku: read.sku.value()?.clone(),
            fields: read,
        })
    }
}

impl PartialSchema for ProductBySku {
    fn schema() -> RefOr<Schema> {
        let mut schema = ProductFields::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required = vec!["sku".to_owned()];
            object.description = Some("A product, named by its SKU. Omitted fields keep their values. A new product needs `title`, `price` and `category_id`.".to_owned());
        }
        schema
    }
}

impl ToSchema for ProductBySku {
    fn name() -> std::borrow::Cow<'static, str> {
        "ProductBySku".into()
    }
}

/// The results of a bulk request.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductResults {
    /// One for each product, in the same sequence.
    results: Vec<ProductResult>,
    /// Number of new products.
    created: usize,
    /// Number of changed products.
    updated: usize,
    /// Number of products that had these values already.
    unchanged: usize,
    /// Number of products that failed.
    failed: usize,
}

/// The result of a product.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductResult {
    /// Index of the product in the request.
    index: usize,
    /// Its SKU.
    sku: String,
    status: ProductStatus,
    /// Id of the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<i64>,
    /// Why the product failed, by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors: Option<FieldErrors>,
}

/// The status of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProductStatus {
    /// It is new.
    Created,
    /// It was changed.
    Updated,
    /// It had these values already. Nothing was written.
    Unchanged,
    /// It was refused.
    Failed,
    /// Another product failed, so nothing was written.
    Skipped,
}

impl ProductResult {
    fn new(index: usize, sku: &str, outcome: Outcome) -> Self {
        let (status, product, errors) = match outcome {
            Outcome::Created(product) => (ProductStatus::Created, Some(product), None),
            Outcome::Updated(product) => (ProductStatus::Updated, Some(product), None),
            Outcome::Unchanged(product) => (ProductStatus::Unchanged, Some(product), None),
            Outcome::Failed(errors) => (ProductStatus::Failed, None, Some(errors)),
            Outcome::Skipped => (ProductStatus::Skipped, None, None),
        };
        Self {
            index,
            sku: sku.to_owned(),
            status,
            id: product.map(|product| product.id),
            errors,
        }
    }
}

impl ProductResults {
    fn new(items: &[ProductBySku], outcomes: Vec<Outcome>) -> Self {
        let results = items.iter().zip(outcomes).enumerate();
        let results: Vec<_> = results
            .map(|(index, (item, outcome))| ProductResult::new(index, &item.sku, outcome))
            .collect();
        let count = |status| results.iter().filter(|result| result.status == status).count();
        Self {
            created: count(ProductStatus::Created),
            updated: count(ProductStatus::Updated),
            unchanged: count(ProductStatus::Unchanged),
            failed: count(ProductStatus::Failed),
            results,
        }
    }

    fn status(&self, mode: BatchMode) -> StatusCode {
        if mode == BatchMode::AllOrNothing && self.failed > 0 {
            StatusCode::CONFLICT
        } else {
            StatusCode::OK
        }
    }
}

/// Creates and changes up to 1,000 products.
pub(super) async fn write_many(
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<Answered<ProductResults>, ApiError> {
    context.caller.require_all_stores()?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewProducts::read(&mut fields);
    let NewProducts { mode, products } = fields.finish_all(read)?;
    let (status, answer) = upsert(context, &products, mode, None, |outcomes| {
        let results = ProductResults::new(&products, outcomes);
        Ok((results.status(mode), results))
    })
    .await?;
    Ok(Answered { status, answer })
}

/// Creates or replaces the product with a SKU.
pub(super) async fn put(
    context: &CommandContext,
    sku: &str,
    conditions: &PutConditions,
    source: &impl FieldSource,
) -> Result<(StatusCode, Tagged<Product>), ApiError> {
    let sku = code_of_text(sku).map_err(|message| ApiError::field("sku", message))?;
    context.caller.require_all_stores()?;
    let current = codes::find(context.reads(), &sku).await?;
    let current = match current.filter(|named| named.is_sku) {
        Some(named) => queries::get(context.reads(), named.product_id).await?,
        None => None,
    };
    conditions.require(current.as_ref())?;
    let mut fields = source.fields(Presence::Complete)?;
    let mut read = ProductFields::read(&mut fields);
    if !matches!(&read.sku, Nullable::Absent) && read.sku.value() != Some(&sku) {
        fields.reject("sku", "This is not the SKU in the path.");
    }
    read.sku = Nullable::Value(sku.clone());
    let item = ProductBySku {
        sku,
        fields: fields.finish(read)?,
    };
    let mode = BatchMode::PerItem;
    let (status, product) = upsert(
        context,
        &[item],
        mode,
        Some(conditions),
        |outcomes| match outcomes.into_iter().next() {
            Some(Outcome::Created(product)) => Ok((StatusCode::CREATED, product)),
            Some(Outcome::Updated(product) | Outcome::Unchanged(product)) => Ok((StatusCode::OK, product)),
            Some(Outcome::Failed(errors)) => Err(ApiError::Invalid(errors)),
            Some(Outcome::Skipped) | None => Err(ApiError::Internal("the product has no outcome".into())),
        },
    )
    .await?;
    Ok((status, Tagged(product)))
}
