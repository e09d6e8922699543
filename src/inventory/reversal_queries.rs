//! The SQL of reversals.

use sqlx::PgConnection;

use crate::{auth::Stores, db::ReadPool};

/// A movement to be reversed.
#[derive(Clone, Debug)]
pub struct Reversible {
    /// Its id.
    pub id: i64,
    /// Its stock row.
    pub inventory_id: i64,
    /// Its kind.
    pub kind: String,
    /// Units that it added.
    pub delta: i32,
    /// The client's reference.
    pub reference: Option<String>,
    /// The movement that has reversed it.
    pub reversed_by: Option<i64>,
}

impl Reversible {
    /// Orders and their stock belong together, so only what operators did can be reversed.
    pub fn is_reversible(&self) -> bool {
        matches!(self.kind.as_str(), "ADJUSTMENT" | "COUNT" | "IMPORT")
    }
}

/// The stock rows and ids of those of `ids` that exist, in granted stores. The BRIN index finds pages, so ids that are near each
/// other are read together.
pub async fn by_id(db: &ReadPool, ids: &[i64], stores: &Stores) -> sqlx::Result<Vec<(i64, i64)>> {
    let rows = sqlx::query!(
        "select m.inventory_id, m.id
         from (select distinct id / 1000 as block from unnest($1::bigint[]) id) wanted
             cross join lateral (
                 select inventory_id, id from stock_movement
                 where id >= block * 1000 and id < (block + 1) * 1000 offset 0
             ) m
             join unnest($1::bigint[]) named (id) on named.id = m.id
             join inventory i on i.id = m.inventory_id
         where $2::bigint[] is null or i.store_id = any($2)",
        ids,
        stores.as_sql_param() as Option<Vec<i64>>
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.inventory_id, row.id)).collect())
}

/// The movements with a reference that can be reversed, in granted stores: those that are not reversed yet first, and one more
/// than a reversal may have.
pub async fn by_reference(db: &ReadPool, reference: &str, stores: &Stores) -> sqlx::Result<Vec<Reversible>> {
    sqlx::query_as!(
        Reversible,
        r#"select m.id, m.inventory_id, m.kind, m.delta, m.reference, r.reversal_id as "reversed_by?"
           from stock_movement m join inventory i on i.id = m.inventory_id
               left join movement_reversal r on r.movement_id = m.id
           where m.reference = $1 and m.kind in ('ADJUSTMENT', 'COUNT', 'IMPORT')
               and ($2::bigint[] is null or i.store_id = any($2))
               and (i.moved_at is null or m.created_at >= i.moved_at)
           order by r.reversal_id is not null, m.id limit 1001"#,
        reference,
        stores.as_sql_param() as Option<Vec<i64>>
    )
    .fetch_all(db)
    .await
}

/// Movements by stock row and id, without those from before the row was moved: they belong to another store or product.
pub async fn read(tx: &mut PgConnection, named: &[(i64, i64)]) -> sqlx::Result<Vec<Reversible>> {
    let (rows, ids): (Vec<i64>, Vec<i64>) = named.iter().copied().unzip();
    sqlx::query_as!(
        Reversible,
        r#"select m.id, m.inventory_id, m.kind, m.delta, m.reference, r.reversal_id as "reversed_by?"
           from unnest($1::bigint[], $2::bigint[]) as named (inventory_id, id)
               join stock_movement m on m.inventory_id = named.inventory_id and m.id = named.id
               join inventory i on i.id = m.inventory_id
               left join movement_reversal r on r.movement_id = m.id
           where i.moved_at is null or m.created_at >= i.moved_at"#,
        &rows,
        &ids
    )
    .fetch_all(tx)
    .await
}

/// Notes which movements are reversed, each with the reversing one.
pub async fn insert(tx: &mut PgConnection, pairs: Vec<(i64, i64)>) -> sqlx::Result<()> {
    let (movements, reversals): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
    sqlx::query!(
        "insert into movement_reversal (movement_id, reversal_id) select * from unnest($1::bigint[], $2::bigint[])",
        &movements,
        &reversals
    )
    .execute(tx)
    .await
    .map(drop)
}
