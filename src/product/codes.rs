//! Codes of products: SKU and barcodes. A code names one product.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use utoipa::ToSchema;

use crate::http::{ApiError, FieldErrors, Fields, Nullable, code, units};

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
        let pack = fields.optional("pack", units);
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
    let products = find_all(db, &named).await?;
    let found = skus.iter().map(|sku| {
        let Some(sku) = sku else { return Ok(None) };
        let named = products.get(*sku).filter(|named| named.is_sku);
        named
            .map(|named| Some(named.product_id))
            .ok_or_else(|| FieldErrors::field("sku", "No product has this SKU."))
    });
    FieldErrors::of_elements(list, found).map_err(ApiError::Invalid)
}

/// The new codes of a product.
#[derive(Debug)]
pub(super) struct NewCodes<'a> {
    /// The product.
    pub product_id: i64,
    /// Its SKU.
    pub sku: Nullable<&'a str>,
    /// All its barcodes; `None` keeps them.
    pub barcodes: Option<&'a [Barcode]>,
}

/// A new code that names another product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    code: &'a str,
    is_sku: bool,
}

impl Taken<'_> {
    /// The error of its field.
    pub fn errors(self) -> FieldErrors {
        let field = if self.is_sku { "sku" } else { "barcodes" };
        FieldErrors::Fields(vec![(field, taken(self.code))])
    }
}

/// The error of a code that names another product.
pub(super) fn taken(code: &str) -> FieldErrors {
    FieldErrors::message(format!("The code {code} names another product."))
}

impl<'a> NewCodes<'a> {
    fn all(&self) -> impl Iterator<Item = (i64, Taken<'a>, i32)> {
        let sku = self.sku.value().map(|code| (*code, true, 1));
        let barcodes = self.barcodes.unwrap_or_default().iter();
        let barcodes = barcodes.map(|barcode| (barcode.code.as_str(), false, barcode.pack));
        let product = self.product_id;
        sku.into_iter()
            .chain(barcodes)
            .map(move |(code, is_sku, pack)| (product, Taken { code, is_sku }, pack))
    }
}

/// Replaces the SKUs and the barcodes of products, if they are given. Codes are written in ascending sequence, so that two
/// transactions do not deadlock. Returns a code that names another product, if there is one; the others are written.
pub(super) async fn replace<'a>(
    tx: &mut PgConnection,
    new: &[NewCodes<'a>],
) -> sqlx::Result<Option<Taken<'a>>> {
    delete_replaced(tx, new).await?;
    let (mut codes, mut products, mut skus, mut packs) = (vec![], vec![], vec![], vec![]);
    for (product, code, pack) in new.iter().flat_map(NewCodes::all) {
        codes.push(code.code);
        products.push(product);
        skus.push(code.is_sku);
        packs.push(pack);
    }
    if codes.is_empty() {
        return Ok(None);
    }
    let written = sqlx::query_scalar!(
        r#"insert into product_code (code, product_id, kind, pack)
           select code, product_id, case when is_sku then 'SKU' else 'BARCODE' end, pack
           from unnest($1::text[], $2::bigint[], $3::boolean[], $4::integer[]) as c (code, product_id, is_sku, pack)
           order by code collate "C" on conflict do nothing returning code"#,
        &codes as &[&str],
        &products,
        &skus,
        &packs
    )
    .fetch_all(tx)
    .await?;
    let written: HashSet<String> = written.into_iter().collect();
    let mut all = new.iter().flat_map(NewCodes::all).map(|(_, code, _)| code);
    Ok(all.find(|code| !written.contains(code.code)))
}

async fn delete_replaced(tx: &mut PgConnection, new: &[NewCodes<'_>]) -> sqlx::Result<()> {
    let (mut products, mut skus, mut barcodes) = (vec![], vec![], vec![]);
    for new in new {
        let (sku, barcode) = (new.sku != Nullable::Absent, new.barcodes.is_some());
        if sku || barcode {
            products.push(new.product_id);
            skus.push(sku);
            barcodes.push(barcode);
        }
    }
    if products.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from product_code c using unnest($1::bigint[], $2::boolean[], $3::boolean[]) as new (product_id, sku, barcodes)
         where c.product_id = new.product_id and (kind = 'SKU' and new.sku or kind = 'BARCODE' and new.barcodes)",
        &products,
        &skus,
        &barcodes
    )
    .execute(tx)
    .await
    .map(drop)
}

/// The products that some codes name, in one statement.
pub(crate) async fn find_all(
    db: impl PgExecutor<'_>,
    codes: &[&str],
) -> sqlx::Result<HashMap<String, Named>> {
    let rows = sqlx::query!(
        r#"select code, product_id, pack, kind = 'SKU' as "is_sku!" from product_code where code = any($1)"#,
        codes as &[&str]
    )
    .fetch_all(db)
    .await?;
    let named = rows.into_iter().map(|row| {
        let named = Named {
            product_id: row.product_id,
            pack: row.pack,
            is_sku: row.is_sku,
        };
        (row.code, named)
    });
    Ok(named.collect())
}
