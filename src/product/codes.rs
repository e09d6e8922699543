//! Codes of products: SKU and barcodes. A code names one product.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use utoipa::ToSchema;

use crate::http::{ApiError, FieldErrors, Fields, Nullable, code, pack};

/// Maximum number of barcodes of a product.
pub(super) const MOST_BARCODES: usize = 100;

/// A barcode of a product, or of a pack of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Barcode {
    /// The code: up to 64 printable ASCII characters.
    #[schema(max_length = 64)]
    pub code: String,
    /// Units in the pack that bears the code.
    #[schema(minimum = 1, default = 1)]
    pub pack: i32,
}

impl Barcode {
    /// Reads a barcode; `None` if a field is absent or invalid.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let code = fields.required("code", code);
        let pack = fields.optional("pack", pack);
        Some(Self {
            code: code?,
            pack: pack.unwrap_or(1),
        })
    }
}

/// The product that a code names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub product_id: i64,
    /// Units in the pack that bears the code.
    pub pack: i32,
    /// Whether the code is a SKU.
    pub is_sku: bool,
}

/// Finds the product that a code names.
pub async fn find(db: impl PgExecutor<'_>, code: &str) -> sqlx::Result<Option<Named>> {
    sqlx::query_as!(
        Named,
        r#"select product_id, pack, kind = 'SKU' as "is_sku!" from product_code where code = $1"#,
        code
    )
    .fetch_optional(db)
    .await
}

/// The products of the items of a list that are named by SKU, in one statement. `None` for an item without a SKU. An unknown
/// SKU is an error of its item.
pub async fn resolve(
    db: impl PgExecutor<'_>,
    list: &'static str,
    skus: &[Option<&str>],
) -> Result<Vec<Option<i64>>, ApiError> {
    let named: Vec<&str> = skus.iter().copied().flatten().collect();
    if named.is_empty() {
        return Ok(vec![None; skus.len()]);
    }
    let rows = sqlx::query!(
        "select code, product_id from product_code where kind = 'SKU' and code = any($1)",
        &named as &[&str]
    )
    .fetch_all(db)
    .await?;
    let products: HashMap<String, i64> = rows.into_iter().map(|row| (row.code, row.product_id)).collect();
    let found: Vec<Option<i64>> = skus.iter().map(|sku| products.get((*sku)?).copied()).collect();
    if skus
        .iter()
        .zip(&found)
        .all(|(sku, product)| sku.is_none() || product.is_some())
    {
        return Ok(found);
    }
    let errors = skus
        .iter()
        .zip(&found)
        .map(|(sku, product)| match (sku, product) {
            (Some(_), None) => FieldErrors::field("sku", "No product has this SKU."),
            _ => FieldErrors::Fields(Vec::new()),
        });
    let errors = FieldErrors::Elements(errors.collect());
    Err(ApiError::Invalid(FieldErrors::Fields(vec![(list, errors)])))
}

/// Replaces the SKU and the barcodes, if they are given. Codes are written in ascending sequence, so that two transactions do not
/// deadlock. A code of another product is an error of its field.
pub(super) async fn replace(
    tx: &mut PgConnection,
    product_id: i64,
    sku: &Nullable<String>,
    barcodes: Option<&[Barcode]>,
) -> Result<(), ApiError> {
    if *sku == Nullable::Absent && barcodes.is_none() {
        return Ok(());
    }
    sqlx::query!(
        "delete from product_code where product_id = $1 and (kind = 'SKU' and $2 or kind = 'BARCODE' and $3)",
        product_id,
        *sku != Nullable::Absent,
        barcodes.is_some()
    )
    .execute(&mut *tx)
    .await?;
    let sku = sku.value().map(|sku| (sku.as_str(), "SKU", 1));
    let barcodes = barcodes.unwrap_or_default().iter();
    let barcodes = barcodes.map(|barcode| (barcode.code.as_str(), "BARCODE", barcode.pack));
    let (mut codes, mut kinds, mut packs) = (Vec::new(), Vec::new(), Vec::new());
    for (code, kind, pack) in sku.into_iter().chain(barcodes) {
        codes.push(code);
        kinds.push(kind);
        packs.push(pack);
    }
    let written = sqlx::query_scalar!(
        "insert into product_code (code, product_id, kind, pack)
         select code, $1, kind, pack from unnest($2::text[], $3::text[], $4::integer[]) as c (code, kind, pack)
         order by code collate \"C\" on conflict do nothing returning code",
        product_id,
        &codes as &[&str],
        &kinds as &[&str],
        &packs
    )
    .fetch_all(tx)
    .await?;
    let taken = codes
        .iter()
        .zip(&kinds)
        .find(|(code, _)| !written.iter().any(|written| written == *code));
    match taken {
        None => Ok(()),
        Some((code, kind)) => {
            let field = if *kind == "SKU" { "sku" } else { "barcodes" };
            Err(ApiError::field(
                field,
                format!("The code {code} names another product."),
            ))
        }
    }
}
