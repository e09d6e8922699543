//! Items of a request, which name products by id or by SKU.

use utoipa::ToSchema;

use crate::{
    db::ReadPool,
    http::{ApiError, Fields, Nullable, code, positive, retry_unfit},
    product::codes,
};

/// Maximum number of items.
pub(super) const MOST_ITEMS: usize = 100;
const REPEATED: &str = "Duplicate products in order items";

/// Units of a product. Names it by `product_id` or by `sku`.
#[derive(Clone, Debug, ToSchema)]
pub struct ProductUnits {
    /// Id of the product.
    #[schema(minimum = 1)]
    pub product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Quantity.
    #[schema(minimum = 1)]
    pub quantity: i64,
}

impl ProductUnits {
    /// Reads an item; `None` if a field is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let product_id = fields.nullable("product_id", positive);
        let sku = fields.nullable("sku", code);
        if fields.is_valid() {
            match (&product_id, sku.value()) {
                (Nullable::Value(_), Some(_)) => fields.reject("sku", "Send either product_id or sku."),
                (Nullable::Absent, None) => fields.reject("product_id", "This field is required."),
                (Nullable::Null, None) => fields.reject("product_id", "This field may not be null."),
                _ => {}
            }
        }
        let quantity = fields.required("quantity", positive);
        Some(Self {
            product_id: product_id.value().copied(),
            sku: sku.value().cloned(),
            quantity: quantity?,
        })
    }

    /// Whether it names its product by SKU.
    pub fn has_sku(&self) -> bool {
        self.sku.is_some()
    }
}

/// Refuses items that name a product twice by its id.
pub(super) fn reject_repeated<'a>(
    fields: &mut Fields<'_>,
    items: impl IntoIterator<Item = &'a ProductUnits>,
) {
    if has_repeated(items) {
        fields.reject("items", REPEATED);
    }
}

/// Sets the products of items with a SKU, in one statement. Each product may appear once.
pub(super) async fn resolve(db: &ReadPool, items: &mut [&mut ProductUnits]) -> Result<(), ApiError> {
    let skus: Vec<Option<&str>> = items.iter().map(|item| item.sku.as_deref()).collect();
    let products = retry_unfit(|| codes::resolve(db, "items", &skus)).await?;
    for (item, product) in items.iter_mut().zip(products) {
        item.product_id = item.product_id.or(product);
    }
    if has_repeated(items.iter().map(|item| &**item)) {
        return Err(ApiError::field("items", REPEATED));
    }
    Ok(())
}

fn has_repeated<'a>(items: impl IntoIterator<Item = &'a ProductUnits>) -> bool {
    let mut products: Vec<i64> = items.into_iter().filter_map(|item| item.product_id).collect();
    products.sort_unstable();
    products.windows(2).any(|pair| pair[0] == pair[1])
}
