//! The SQL of what was checked in a list.

use sqlx::PgPool;

use super::Kind;
use crate::auth::Stores;

/// Something that was checked.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: i64,
    pub name: String,
}

/// What was checked and is there, by name.
pub async fn rows(db: &PgPool, kind: Kind, ids: &[i64], granted: &Stores) -> sqlx::Result<Vec<Row>> {
    macro_rules! named {
        ($sql:literal) => {
            sqlx::query_as!(Row, $sql, ids).fetch_all(db).await
        };
    }
    match kind {
        Kind::Categories => named!("select id, name from category where id = any($1) order by name, id"),
        Kind::Products => {
            named!("select id, title as name from product where id = any($1) order by title, id")
        }
        Kind::Stores => named!("select id, name from store where id = any($1) order by name, id"),
        Kind::Stock => {
            let granted = granted.as_sql_param();
            sqlx::query_as!(
                Row,
                r#"select i.id, i.product_title || ', ' || s.name as "name!"
                   from inventory i join store s on s.id = i.store_id
                   where i.id = any($1) and ($2::bigint[] is null or i.store_id = any($2))
                   order by i.product_title, s.name, i.id"#,
                ids,
                granted.as_deref()
            )
            .fetch_all(db)
            .await
        }
    }
}
