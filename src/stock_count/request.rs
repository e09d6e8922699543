//! The bodies of stock counts.

use utoipa::ToSchema;

use super::scope::Scope;
use crate::{
    db::ReadPool,
    http::{
        ApiError, FieldErrors, Fields, MOST_ITEMS, Reference, boolean, code as code_rule, integer, one_of,
        positive, reference, retry_unfit, text, timestamp,
    },
    product::{codes, item},
    timestamp::Timestamp,
};

const LONGEST_REFERENCE: usize = 100;

/// A new stock count.
#[derive(Debug, ToSchema)]
pub struct NewStockCount {
    /// Id of the store.
    #[schema(value_type = i64)]
    pub store_id: Reference,
    /// What is counted.
    pub scope: Scope,
    /// Whether the expected units are hidden from those who count.
    #[schema(default = true, value_type = Option<bool>, nullable = false)]
    pub blind: bool,
    /// The client's reference.
    #[schema(max_length = 100)]
    pub reference: Option<String>,
}

/// What was counted.
#[derive(Debug, ToSchema)]
#[schema(as = NewStockCountEntries)]
pub struct NewEntries {
    /// Lines. A product may appear several times.
    #[schema(min_items = 1, max_items = 1000)]
    pub lines: Vec<NewEntry>,
}

/// What was counted of a product. Names it by `code`, `sku` or `product_id`.
#[derive(Debug, ToSchema)]
#[schema(as = NewStockCountEntry)]
pub struct NewEntry {
    /// SKU or barcode. `counted` is multiplied by the number of units of the barcode.
    #[schema(max_length = 64)]
    code: Option<String>,
    /// SKU of the product.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// Id of the product.
    #[schema(minimum = 1)]
    product_id: Option<i64>,
    /// Units, or packs of the barcode.
    #[schema(minimum = 0)]
    counted: i32,
    /// When it was counted: neither in the future, nor before the stock count began, nor more than 7 days ago. By default now.
    counted_at: Option<Timestamp>,
    /// Whether it adds to what was counted of the product before.
    #[schema(default = false, value_type = Option<bool>, nullable = false)]
    add: bool,
}

/// What is applied.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(as = NewStockCountApplication)]
pub struct NewApplication {
    /// How stock is treated that was not counted: `ignore` leaves it, `zero` sets it to 0 on hand.
    #[schema(value_type = Option<String>, default = "ignore")]
    pub uncounted: Uncounted,
    /// The request is refused if this is not the version of the stock count.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// A cancellation.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(as = NewStockCountCancellation)]
pub struct NewCancellation {
    /// The request is refused if this is not the version of the stock count.
    #[schema(nullable = false, minimum = 0)]
    pub expected_version: Option<i32>,
}

/// How stock is treated that was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    Ignore,
    Zero,
}

/// What was counted of a known product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub product_id: i64,
    pub units: i32,
    pub counted_at: Option<Timestamp>,
    pub is_added: bool,
}

impl NewStockCount {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let store_id = fields.required("store_id", reference);
        let scope = fields.required_object("scope", Scope::read);
        let blind = fields.optional("blind", boolean);
        let reference = fields.nullable("reference", text(LONGEST_REFERENCE));
        Some(Self {
            store_id: store_id?,
            scope: scope?,
            blind: blind.unwrap_or(true),
            reference: reference.into_value(),
        })
    }
}

impl NewEntries {
    /// Reads the fields; `None` if one is absent or invalid.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let lines = fields.required_list("lines", MOST_ITEMS, NewEntry::read)?;
        Some(Self { lines })
    }

    /// Looks up codes and SKUs, in one statement.
    pub async fn resolve(self, db: &ReadPool) -> Result<Vec<Entry>, ApiError> {
        let names = self
            .lines
            .iter()
            .filter_map(|line| line.code.as_deref().or(line.sku.as_deref()));
        let names: Vec<&str> = names.collect();
        let found = retry_unfit(|| async { Ok(codes::find_all(db, &names).await?) }).await?;
        let resolve = |line: &NewEntry| {
            let (product_id, pack) = match (&line.code, &line.sku, line.product_id) {
                (Some(code), ..) => found.get(code).map(|code| (code.product_id, code.pack)),
                (None, Some(sku), _) => {
                    let sku = found.get(sku).filter(|code| code.is_sku);
                    sku.map(|code| (code.product_id, 1))
                }
                (None, None, product_id) => product_id.map(|id| (id, 1)),
            }
            .ok_or_else(|| match line.code {
                Some(_) => FieldErrors::field("code", "No product has this code."),
                None => FieldErrors::field("sku", "No product has this SKU."),
            })?;
            let units = line.counted.checked_mul(pack);
            Ok(Entry {
                product_id,
                units: units
                    .ok_or_else(|| FieldErrors::field("counted", "These are more than 2147483647 units."))?,
                counted_at: line.counted_at,
                is_added: line.add,
            })
        };
        FieldErrors::of_elements("lines", self.lines.iter().map(resolve)).map_err(ApiError::Invalid)
    }
}

impl NewEntry {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let code = fields.nullable("code", code_rule).into_value();
        let (product_id, sku) = if code.is_some() {
            let product_id = fields.nullable("product_id", positive).into_value();
            (product_id, fields.nullable("sku", code_rule).into_value())
        } else {
            item::read_product(fields)
        };
        if code.is_some() && (product_id.is_some() || sku.is_some()) {
            fields.reject("code", "Send one of code, sku and product_id.");
        }
        let counted = fields.required("counted", integer);
        let counted_at = fields.nullable("counted_at", timestamp);
        let add = fields.optional("add", boolean);
        Some(Self {
            code,
            sku,
            product_id,
            counted: counted?,
            counted_at: counted_at.into_value(),
            add: add.unwrap_or(false),
        })
    }
}

impl NewApplication {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let words = [("ignore", Uncounted::Ignore), ("zero", Uncounted::Zero)];
        Self {
            uncounted: fields
                .optional("uncounted", one_of(words))
                .unwrap_or(Uncounted::Ignore),
            expected_version: fields.optional("expected_version", integer),
        }
    }
}

impl NewCancellation {
    /// Reads the fields, all of which may be left out.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            expected_version: fields.optional("expected_version", integer),
        }
    }
}
