//! The body of a new order, whose items name products by id or by SKU.

use std::sync::Arc;

use utoipa::ToSchema;

use super::{
    data::{Customer, DataChanges, Metadata, OrderData},
    model::{NewItem, NewOrder, REPEATED},
    reservation::Reservation,
};
use crate::{
    db::ReadPool,
    http::{ApiError, Fields, boolean, positive, price},
    money::Money,
    product::item::{self, MOST_ITEMS, ProductUnits, reject_repeated},
};

/// A new order.
#[derive(Debug, ToSchema)]
#[schema(as = NewOrder)]
pub struct OrderRequest {
    /// Id of the store. May be left out with `reservation_id`.
    #[schema(minimum = 1, nullable = false)]
    pub store_id: Option<i64>,
    /// Items. Each product may appear once. May be left out with `reservation_id`: then all that is reserved.
    #[schema(min_items = 1, max_items = 100, nullable = false)]
    items: Option<Vec<ItemRequest>>,
    /// A reservation of the store, from which the order takes.
    #[schema(minimum = 1, nullable = false)]
    pub reservation_id: Option<i64>,
    /// Whether units of the reservation that the order does not take stay reserved.
    #[schema(default = false, nullable = false, value_type = Option<bool>)]
    pub keep_rest: bool,
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
        let reservation_id = fields.optional("reservation_id", positive);
        let (store_id, items) = if reservation_id.is_some() {
            let items = fields.nullable_list("items", MOST_ITEMS, ItemRequest::read);
            (fields.optional("store_id", positive), items.into_value())
        } else {
            let store_id = fields.required("store_id", positive);
            let items = fields.required_list("items", MOST_ITEMS, ItemRequest::read);
            (store_id, items)
        };
        reject_repeated(
            fields,
            items.iter().flatten().map(|item| item.product_id),
            REPEATED,
        );
        let keep_rest = fields.optional("keep_rest", boolean);
        let mut data = OrderData::default();
        // Without data there are no more keys than the rule permits.
        DataChanges::read(fields).apply(&mut data).ok()?;
        Some(Self {
            store_id,
            items,
            reservation_id,
            keep_rest: keep_rest.unwrap_or(false),
            external_reference: data.external_reference,
            customer: data.customer,
            note: data.note,
            metadata: data.metadata,
        })
    }

    /// Whether an item names its product by SKU.
    pub fn has_skus(&self) -> bool {
        self.items.iter().flatten().any(|item| item.sku.is_some())
    }

    /// Whether an item has a price of its own.
    pub fn has_prices(&self) -> bool {
        self.items
            .iter()
            .flatten()
            .any(|item| item.price_override.is_some())
    }

    /// Looks up the products of the items with a SKU.
    pub async fn resolve(&mut self, db: &ReadPool) -> Result<(), ApiError> {
        let items = self.items.iter_mut().flatten();
        item::resolve(
            db,
            items.map(|item| (&mut item.product_id, item.sku.as_deref())),
            REPEATED,
        )
        .await
    }

    /// The order to place, after its SKUs are resolved, and after its reservation was read.
    pub fn into_order(self, reservation: Option<&Reservation>) -> Result<NewOrder, ApiError> {
        let store_id = self.store_id.or(reservation.map(|found| found.store_id));
        if reservation.is_some_and(|found| Some(found.store_id) != store_id) {
            return Err(ApiError::field(
                "reservation_id",
                "The reservation is of another store.",
            ));
        }
        let items = match (self.items, reservation) {
            (Some(items), _) => items.into_iter().filter_map(ItemRequest::into_item).collect(),
            (None, Some(reservation)) => reservation.new_items(),
            (None, None) => Vec::new(),
        };
        let data = OrderData {
            external_reference: self.external_reference,
            customer: self.customer,
            note: self.note,
            metadata: self.metadata,
        };
        let keep_rest = self.keep_rest;
        Ok(NewOrder {
            store_id: store_id.unwrap_or_default(),
            items,
            placed_by: None,
            data: (!data.is_empty()).then(|| Arc::new(data)),
            reservation: reservation.map(|reservation| Arc::new(reservation.claim(keep_rest))),
        })
    }
}

impl ItemRequest {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let units = ProductUnits::read(fields);
        let price_override = fields.nullable("price_override", price);
        let ProductUnits {
            product_id,
            sku,
            quantity,
        } = units?;
        Some(Self {
            product_id,
            sku,
            quantity,
            price_override: price_override.value().copied(),
        })
    }

    fn into_item(self) -> Option<NewItem> {
        Some(NewItem {
            product_id: self.product_id?,
            quantity: self.quantity,
            price: self.price_override,
        })
    }
}
