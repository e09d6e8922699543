//! Makes partitioned tables of the plain ones, while servers place orders.
//!
//! Each table becomes the first partition of a new one. A check constraint is validated before, without a long lock, so that
//! attaching need not read the table. Then one transaction changes all tables, within a fraction of a second.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    PartitionError, TABLES, Table,
    ensure::{drop_bounds, make_missing},
    exclusively, execute, is_partitioned, lock, with_locks,
};

/// How long the tables are waited for. Meanwhile the bounds are in force, and ids must not reach them.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The result of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// The tables are partitioned now.
    Now,
    /// The tables were partitioned before.
    Before,
}

/// Partitions the tables by ranges of `size` ids. After an interruption, the next run begins again.
pub async fn convert(options: &PgConnectOptions, size: i64) -> Result<Converted, PartitionError> {
    // A transaction of its own holds the lock, because the steps commit one by one.
    let mut holder = PgConnection::connect_with(options).await?;
    let mut held = holder.begin_with("begin isolation level read committed").await?;
    if !lock(&mut held).await? {
        return Err(PartitionError::Busy);
    }
    let converted = convert_locked(options, size).await;
    // Frees the lock before the caller goes on.
    held.rollback().await?;
    holder.close().await?;
    converted
}

async fn convert_locked(options: &PgConnectOptions, size: i64) -> Result<Converted, PartitionError> {
    let mut db = PgConnection::connect_with(options).await?;
    if is_partitioned(&mut db).await? {
        return Ok(Converted::Before);
    }
    let dependents = dependents(&mut db).await?;
    if !dependents.is_empty() {
        return Err(PartitionError::Dependents(dependents));
    }
    with_locks(&mut db, drop_bounds).await?;
    let mut tables = Vec::new();
    for table in TABLES {
        tables.push((table, bound(&mut db, table, size).await?));
    }
    let switching = exclusively(&mut db, async |tx| {
        for (table, end) in &tables {
            let statements = statements(tx, *table, *end).await?;
            execute(tx, statements.join(";\n")).await?;
        }
        make_missing(tx, Some(size)).await.map(drop)
    });
    timeout(LONGEST_WAIT, switching)
        .await
        .map_err(|_| PartitionError::InUse)??;
    // Autovacuum analyzes partitions only, but joins are planned with statistics of the whole table.
    db.execute("analyze orders, order_item, stock_movement").await?;
    db.close().await?;
    Ok(Converted::Now)
}

/// The objects that depend on the tables, such as views, except those that are converted too.
async fn dependents(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct pg_describe_object(d.classid, d.objid, 0) as "name!"
           from pg_depend d left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
           where d.refclassid = 'pg_class'::regclass and d.refobjid = any($1::text[]::regclass[]::oid[])
               and d.classid not in ('pg_class'::regclass, 'pg_type'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass,
                   'pg_statistic_ext'::regclass)
               and d.refobjid is distinct from c.conrelid
           order by 1"#,
        &TABLES.map(|table| table.name) as &[&str]
    )
    .fetch_all(db)
    .await
}

/// Proves that all ids of a table are below the end of the first partition, and returns this end. More than `size` ids are left
/// until then, so that none reaches it before the conversion.
async fn bound(db: &mut PgConnection, table: Table, size: i64) -> sqlx::Result<i64> {
    let Table { name, key, .. } = table;
    let bound = table.bound();
    let end = (table.last_id(&mut *db).await? / size + 2) * size;
    let add = format!("alter table {name} add constraint {bound} check ({key} < {end}) not valid");
    with_locks(db, async |tx| execute(tx, add.clone()).await).await?;
    let validate = format!("alter table {name} validate constraint {bound}");
    with_locks(db, async |tx| execute(tx, validate.clone()).await).await?;
    Ok(end)
}

/// The statements that make a table the first partition of a new one. Indexes, constraints, triggers and privileges come from the
/// catalog, as the migrations or an operator have made them.
async fn statements(db: &mut PgConnection, table: Table, end: i64) -> sqlx::Result<Vec<String>> {
    let next = table.last_id(&mut *db).await? + 1;
    sqlx::query_scalar!(
        r#"with old as (
               select oid, relname::text as name, relname || '_0' as partition, relowner from pg_class where oid = to_regclass($1)
           ), index as (
               select i.indexrelid, i.indexrelid::regclass::text as name, c.oid is null as is_alone
               from old join pg_index i on i.indrelid = old.oid left join pg_constraint c on c.conindid = i.indexrelid
           ), own_constraint as (
               select c.conname, c.contype, pg_get_constraintdef(c.oid) as definition
               from old join pg_constraint c on c.conrelid = old.oid where c.contype in ('p', 'u', 'x', 'f')
           ), own_trigger as (
               select t.tgname, pg_get_triggerdef(t.oid) as definition
               from old join pg_trigger t on t.tgrelid = old.oid where not t.tgisinternal
           ), privilege as (
               select format('grant %s on %s %I to %s', a.privilege_type, case c.relkind when 'S' then 'sequence' else 'table' end,
                       c.relname, case a.grantee when 0 then 'public' else a.grantee::regrole::text end) as statement
               from old join pg_class c on c.oid in (old.oid, to_regclass(name || '_id_seq')), aclexplode(c.relacl) a
               where a.grantee <> c.relowner
           )
           select statement as "statement!" from (
               select 1 as step, format('drop trigger %I on %I', tgname, name) as statement from own_trigger, old
               union all
               select 1, format('alter index %s rename to %I', index.name,
                   regexp_replace(index.name, '^(' || old.name || '_)?', partition || '_')) from index, old
               union all
               select step, format(text, name, partition) from old, (values
                   (2, 'alter table %1$I alter id drop identity'),
                   (3, 'alter table %1$I rename to %2$I'),
                   (4, 'create table %1$I (like %2$I including defaults including generated including constraints including storage '
                       'including compression including comments including statistics) partition by range (' || $2 || ')'),
                   (5, 'alter table %1$I drop constraint %1$s_partition_bound'),
                   (6, 'alter table %1$I alter id add generated always as identity (sequence name %1$s_id_seq start ' || $4::bigint || ')'),
                   (10, 'alter table %1$I attach partition %2$I for values from (minvalue) to (' || $3::bigint || ')'),
                   (11, 'alter table %2$I drop constraint %1$s_partition_bound')
               ) as fixed (step, text)
               union all
               select 7, format('alter table %I owner to %s', name, relowner::regrole) from old
               union all
               select 8, statement from privilege
               union all
               select case contype when 'f' then 9 else 8 end,
                   format('alter table %I add constraint %I %s', name, conname, definition) from own_constraint, old
               union all
               select 9, pg_get_indexdef(indexrelid) from index where is_alone
               union all
               select 12, definition from own_trigger
           ) steps order by step"#,
        table.name,
        table.key,
        end,
        next
    )
    .fetch_all(db)
    .await
}
