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
    pub sku: Option<String>,
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

    /// What [`resolve`] sets and reads.
    pub(super) fn named(&mut self) -> (&mut Option<i64>, Option<&str>) {
        (&mut self.product_id, self.sku.as_deref())
    }
}

/// Refuses items that name a product twice by its id.
pub(super) fn reject_repeated(fields: &mut Fields<'_>, products: impl Iterator<Item = Option<i64>>) {
    if has_repeated(products) {
        fields.reject("items", REPEATED);
    }
}

/// Sets the products of items that have a SKU in place of one, in one statement. Each product may appear once.
pub(super) async fn resolve<'a>(
    db: &ReadPool,
    items: impl Iterator<Item = (&'a mut Option<i64>, Option<&'a str>)>,
) -> Result<(), ApiError> {
    let (mut products, skus): (Vec<&mut Option<i64>>, Vec<Option<&str>>) = items.unzip();
    let found = retry_unfit(|| codes::resolve(db, "items", &skus)).await?;
    for (product, found) in products.iter_mut().zip(found) {
        **product = product.or(found);
    }
    if has_repeated(products.iter().map(|product| **product)) {
        return Err(ApiError::field("items", REPEATED));
    }
    Ok(())
}

fn has_repeated(products: impl Iterator<Item = Option<i64>>) -> bool {
    let mut products: Vec<i64> = products.flatten().collect();
    products.sort_unstable();
    products.windows(2).any(|pair| pair[0] == pair[1])
}
