//! `GET /api/products/lookup/`: the product that a scanned code names, with its stock.

use serde::Serialize;
use utoipa::ToSchema;

use super::{model::Inventory, queries};
use crate::{
    auth::Scope,
    http::{ApiError, Caller, InvalidParameter, Json, NotFound, Params, Reads},
    product::{self, NO_SUCH, Product, codes},
};

/// The product that a code names.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    product: Product,
    /// Units in the pack that bears the code.
    pack: i32,
    matched: Matched,
    /// The stock of the product in the store; null without `store_id`, or if the store does not stock it.
    #[schema(required = true)]
    inventory: Option<Inventory>,
}

/// The kind of the code.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Matched {
    Sku,
    Barcode,
}

/// Find the product that a SKU or barcode names.
///
/// `store_id` adds the stock of a store. API keys then need the scope `inventory:read`, too.
#[utoipa::path(get, path = "/api/products/lookup/", tag = "Products",
    params(
        ("code" = String, Query, description = "SKU or barcode"),
        ("store_id" = Option<i64>, Query, description = "Add the stock of this store"),
    ),
    responses((status = 200, body = Found), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
pub async fn lookup(Reads(db): Reads, caller: Caller, mut params: Params) -> Result<Json<Found>, ApiError> {
    let (code, store) = (params.text("code"), params.id("store_id"));
    let (code, store) = params.finish((code, store))?;
    let code = code.ok_or_else(|| ApiError::field("code", "This field is required."))?;
    if store.is_some() {
        caller.require_scope(Scope::InventoryRead)?;
    }
    let named = codes::find(&db, &code).await?.ok_or(NO_SUCH)?;
    let product = product::get(&db, named.product_id).await?.ok_or(NO_SUCH)?;
    let inventory = match store.filter(|store| caller.grant.stores.contains(*store)) {
        Some(store) => queries::find(&db, store, product.id).await?,
        None => None,
    };
    Ok(Json(Found {
        product,
        pack: named.pack,
        matched: if named.is_sku {
            Matched::Sku
        } else {
            Matched::Barcode
        },
        inventory,
    }))
}
