//! Items of a request, which name products by id or by SKU.

use utoipa::ToSchema;

use super::codes;
use crate::{
    db::ReadPool,
    http::{ApiError, Fields, Nullable, code, positive, retry_unfit},
};

/// Maximum number of items.
pub const MOST_ITEMS: usize = 100;

/// Units of a product. Names it by `product_id` or by `sku`.
#[derive(Clone, Debug, ToSchema)]
pub struct ProductUnits {
    /// Id of the product.
    #[schema(minimum = 1)]
    pub product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    pub sku: Option<String>,
    /// Quantity.
    #[schema(minimum = 1)]
    pub quantity: i64,
}

impl ProductUnits {
    /// Reads an item; `None` if a field is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (product_id, sku) = read_product(fields);
        let quantity = fields.required("quantity", positive);
        Some(Self {
            product_id,
            sku,
            quantity: quantity?,
        })
    }

    /// What [`resolve`] sets and reads.
    pub fn named(&mut self) -> (&mut Option<i64>, Option<&str>) {
        (&mut self.product_id, self.sku.as_deref())
    }
}

/// Reads the id of a product or its SKU, of which an item has one.
pub fn read_product(fields: &mut Fields<'_>) -> (Option<i64>, Option<String>) {
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
    (product_id.into_value(), sku.into_value())
}

/// Refuses items with `message` if they name a product twice by its id.
pub fn reject_repeated(
    fields: &mut Fields<'_>,
    products: impl Iterator<Item = Option<i64>>,
    message: &'static str,
) {
    if has_repeated(products) {
        fields.reject("items", message);
    }
}

/// Sets the products of items that have a SKU in place of one, in one statement. Refuses with `message` if a product appears twice.
pub async fn resolve<'a>(
    db: &ReadPool,
    items: impl Iterator<Item = (&'a mut Option<i64>, Option<&'a str>)>,
    message: &'static str,
) -> Result<(), ApiError> {
    let (mut products, skus): (Vec<&mut Option<i64>>, Vec<Option<&str>>) = items.unzip();
    let found = retry_unfit(|| codes::resolve(db, "items", &skus)).await?;
    for (product, found) in products.iter_mut().zip(found) {
        **product = product.or(found);
    }
    if has_repeated(products.iter().map(|product| **product)) {
        return Err(ApiError::field("items", message));
    }
    Ok(())
}

fn has_repeated(products: impl Iterator<Item = Option<i64>>) -> bool {
    let mut products: Vec<i64> = products.flatten().collect();
    products.sort_unstable();
    products.windows(2).any(|pair| pair[0] == pair[1])
}
