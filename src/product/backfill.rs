//! Adds products that are older than `product_folded` to it (see `migrations/0009_search_fold.sql`), in portions beside other
//! work.

use sqlx::PgPool;

use crate::db;

/// Products that one transaction examines. It writes and locks only those that folding changes.
const PORTION: i64 = 5000;

/// Examines the next portion. Returns whether there may be more.
pub async fn fold_portion(db: &PgPool) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let last = sqlx::query_scalar!("select product_id from product_folding for update")
        .fetch_optional(&mut *tx)
        .await?;
    let Some(last) = last else { return Ok(false) };
    let first = sqlx::query_scalar!(
        "select min(id) from (select id from product where id <= $1 order by id desc limit $2) portion",
        last,
        PORTION
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(first) = first {
        // The lock waits for a concurrent change of the product and reads its result; the trigger covers all later changes.
        sqlx::query!(
            "insert into product_folded (product_id, upper_text, folded_text, folded_title)
             select id, search_text, search_fold(title) || chr(1114111) || search_fold(description),
                 nullif(search_fold(title), fold(title))
             from product
             where id between $1 and $2
                 and search_text <> search_fold(title) || chr(1114111) || search_fold(description)
             order by id for share of product
             on conflict (product_id) do nothing",
            first,
            last
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("update product_folding set product_id = $1", first - 1)
            .execute(&mut *tx)
            .await?;
    } else {
        sqlx::query!("delete from product_folding")
            .execute(&mut *tx)
            .await?;
    }
    db::commit(tx).await?;
    Ok(true)
}
