//! The SQL of what was checked in a list.

use sqlx::PgPool;

use super::Kind;
use crate::auth::Stores;

/// Something that was checked.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: i64,
    pub name: String,
    /// `None` for what is neither active nor inactive.
    pub is_active: Option<bool>,
}

/// What was checked and is there, by name.
pub async fn rows(db: &PgPool, kind: Kind, ids: &[i64], granted: &Stores) -> sqlx::Result<Vec<Row>> {
    macro_rules! named {
        ($sql:literal) => {
            sqlx::query_as!(Row, $sql, ids).fetch_all(db).await
        };
    }
    match kind {
        Kind::Categories => named!(
            r#"select id, name, null::boolean as is_active from category where id = any($1) order by name, id"#
        ),
        Kind::Products => {
            named!(
                r#"select id, title as name, is_active as "is_active?" from product where id = any($1) order by title, id"#
            )
        }
        Kind::Stores => named!(
            r#"select id, name, is_active as "is_active?" from store where id = any($1) order by name, id"#
        ),
        Kind::Stock => {
            let granted = granted.as_sql_param();
            sqlx::query_as!(
                Row,
                r#"select i.id, i.product_title || ', ' || s.name as "name!", null::boolean as is_active
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
