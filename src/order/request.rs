//! The body of a new order, whose items name products by id or by SKU.

use std::sync::Arc;

use utoipa::ToSchema;

use super::{
    data::{Customer, DataChanges, Metadata, OrderData},
    model::{NewItem, NewOrder},
};
use crate::{
    db::ReadPool,
    http::{ApiError, Fields, Nullable, code, positive, price},
    money::Money,
    product::codes,
};

/// Maximum number of items of an order.
const MOST_ITEMS: usize = 100;
const REPEATED: &str = "Duplicate products in order items";

/// A new order.
#[derive(Debug, ToSchema)]
#[schema(as = NewOrder)]
pub struct OrderRequest {
    /// Id of the store.
    #[schema(minimum = 1)]
    pub store_id: i64,
    /// Items. Each product may appear once.
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<ItemRequest>,
    /// The client's reference, such as the number of the order in a shop. One order of a store has it, except rejected ones.
    #[schema(max_length = 100)]
    external_reference: Option<String>,
    /// The customer.
    customer: Option<Customer>,
    /// A note.
    #[schema(max_length = 2000)]
    note: Option<String>,
    /// Up to 50 texts by key: keys of at most 40 characters, texts of at most 500.
    metadata: Option<Metadata>,
}

/// An item of a new order. Names the product by `product_id` or by `sku`.
#[derive(Debug, ToSchema)]
#[schema(as = NewItem)]
struct ItemRequest {
    /// Id of the product.
    #[schema(minimum = 1)]
    product_id: Option<i64>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Quantity.
    #[schema(minimum = 1)]
    quantity: i64,
    /// Unit price in place of the price of the product. Needs the scope `orders:price`.
    #[schema(value_type = Option<String>)]
    price_override: Option<Money>,
}

impl OrderRequest {
    /// Reads an order; `None` if a field is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let store_id = fields.required("store_id", positive);
        let items = fields.required_list("items", MOST_ITEMS, ItemRequest::read);
        if let Some(items) = &items
            && has_repeated(items.iter().filter_map(|item| item.product_id))
        {
            fields.reject("items", REPEATED);
        }
        let mut data = OrderData::default();
        // Without data there are no more keys than the rule permits.
        DataChanges::read(fields).apply(&mut data).ok()?;
        Some(Self {
            store_id: store_id?,
            items: items?,
            external_reference: data.external_reference,
            customer: data.customer,
            note: data.note,
            metadata: data.metadata,
        })
    }

    /// Whether an item names its product by SKU.
    pub fn has_skus(&self) -> bool {
        self.items.iter().any(|item| item.sku.is_some())
    }

    /// Whether an item has a price of its own.
    pub fn has_prices(&self) -> bool {
        self.items.iter().any(|item| item.price_override.is_some())
    }

    /// The products that the SKUs of the items name, in one statement.
    pub async fn products(&self, db: &ReadPool) -> Result<Vec<Option<i64>>, ApiError> {
        let skus: Vec<Option<&str>> = self.items.iter().map(|item| item.sku.as_deref()).collect();
        codes::resolve(db, "items", &skus).await
    }

    /// Sets the products of the items with a SKU.
    pub fn resolve(&mut self, products: Vec<Option<i64>>) -> Result<(), ApiError> {
        for (item, product) in self.items.iter_mut().zip(products) {
            item.product_id = item.product_id.or(product);
        }
        if has_repeated(self.items.iter().filter_map(|item| item.product_id)) {
            return Err(ApiError::field("items", REPEATED));
        }
        Ok(())
    }

    /// The order to place, after its SKUs are resolved.
    pub fn into_order(self) -> NewOrder {
        let items = self.items.into_iter().filter_map(|item| {
            Some(NewItem {
                product_id: item.product_id?,
                quantity: item.quantity,
                price: item.price_override,
            })
        });
        let data = OrderData {
            external_reference: self.external_reference,
            customer: self.customer,
            note: self.note,
            metadata: self.metadata,
        };
        NewOrder {
            store_id: self.store_id,
            items: items.collect(),
            placed_by: None,
            data: (!data.is_empty()).then(|| Arc::new(data)),
        }
    }
}

impl ItemRequest {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
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
        let price_override = fields.nullable("price_override", price);
        Some(Self {
            product_id: product_id.value().copied(),
            sku: sku.value().cloned(),
            quantity: quantity?,
            price_override: price_override.value().copied(),
        })
    }
}

fn has_repeated(products: impl Iterator<Item = i64>) -> bool {
    let mut products: Vec<i64> = products.collect();
    products.sort_unstable();
    products.windows(2).any(|pair| pair[0] == pair[1])
}
