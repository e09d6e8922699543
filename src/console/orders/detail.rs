//! `/admin/orders/{id}/`: one order, what became of it, and why.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use super::SECTION;
use crate::{
    console::{
        error::ConsoleError,
        operator::Operator,
        page::{Frame, Id, render},
        query::Query,
    },
    order::{self, Order, Rejection, RejectionCode, Status},
};

#[derive(Template)]
#[template(path = "orders/detail.html")]
struct Page {
    frame: Frame,
    order: Order,
    rejected: Vec<Rejected>,
    steps: Vec<Step>,
    entries: Vec<Entry>,
    /// Where an order that was just rejected can be edited; blank for any other.
    again: String,
}

/// An item that the order was rejected for, and how that stands now.
struct Rejected {
    rejection: Rejection,
    title: Option<String>,
    /// The stock row and what it has now, if the store keeps the product.
    stock: Option<(i64, i32)>,
}

/// Something that happened to the order, or is still to.
struct Step {
    /// `good`, `bad` or `open`.
    class: &'static str,
    text: String,
    at: Option<DateTime<Utc>>,
    note: String,
}

/// What the audit log says of the order.
struct Entry {
    at: DateTime<Utc>,
    action: String,
    actor: String,
    request_id: Option<String>,
}

impl Rejected {
    fn why(&self) -> &'static str {
        match self.rejection.code {
            RejectionCode::ProductNotFound => "No such product, or it is not active",
            RejectionCode::NotInStore => "The store does not keep it",
            RejectionCode::InsufficientStock => "Not enough in stock",
        }
    }
}

pub async fn show(
    operator: Operator,
    query: Query,
    Id(id): Id,
    State(db): State<PgPool>,
) -> Result<Response, ConsoleError> {
    let order = find(&db, &operator, id).await?;
    let rejected = rejected(&db, &order).await?;
    let steps = steps(&db, &order).await?;
    let entries = entries(&db, order.id).await?;
    let frame = Frame::new(&operator, SECTION, format!("Order {}", order.id));
    let is_new = query.has("done", "rejected") && order.status == Status::Rejected;
    let lines = Query::from(query.text("again").trim_start_matches('?'));
    let again = format!("{SECTION}new/{}", lines.here());
    Ok(render(&Page {
        again: if is_new { again } else { String::new() },
        frame: frame.after(&query),
        order,
        rejected,
        steps,
        entries,
    }))
}

/// `/admin/orders/{id}/json/`: what the API answers.
pub async fn json(
    operator: Operator,
    Id(id): Id,
    State(db): State<PgPool>,
) -> Result<Response, ConsoleError> {
    Ok(Json(find(&db, &operator, id).await?).into_response())
}

async fn find(db: &PgPool, operator: &Operator, id: i64) -> Result<Order, ConsoleError> {
    let order = order::get(db, id).await?.ok_or(ConsoleError::NotFound)?;
    if operator.caller.grant.stores.contains(order.store.id) {
        Ok(order)
    } else {
        Err(ConsoleError::NotFound)
    }
}

async fn rejected(db: &PgPool, order: &Order) -> sqlx::Result<Vec<Rejected>> {
    let rejections = order.rejections.clone().unwrap_or_default();
    let products: Vec<i64> = rejections.iter().map(|rejection| rejection.product_id).collect();
    let known = sqlx::query!(
        r#"select p.id, title_at(p.id, $3) as "title!", i.id as "stock?", i.quantity as "quantity?"
           from product p left join inventory i on i.product_id = p.id and i.store_id = $2
           where p.id = any($1)"#,
        &products,
        order.store.id,
        order.created_at.0
    )
    .fetch_all(db)
    .await?;
    let known: HashMap<i64, _> = known.into_iter().map(|row| (row.id, row)).collect();
    let of = |rejection: Rejection| {
        let row = known.get(&rejection.product_id);
        Rejected {
            title: row.map(|row| row.title.clone()),
            stock: row.and_then(|row| row.stock.zip(row.quantity)),
            rejection,
        }
    };
    Ok(rejections.into_iter().map(of).collect())
}

async fn steps(db: &PgPool, order: &Order) -> sqlx::Result<Vec<Step>> {
    let placed = order.created_at.0;
    let step = |class, text: &str, at| Step {
        class,
        text: text.to_owned(),
        at,
        note: String::new(),
    };
    let mut steps = vec![step("good", "Placed", Some(placed))];
    match order.status {
        Status::Pending => steps.push(step("open", "Not decided yet", None)),
        Status::Rejected => steps.push(Step {
            note: order.rejection_reason.clone(),
            ..step("bad", "Rejected", Some(placed))
        }),
        Status::Confirmed => {
            steps.push(step("good", "Confirmed", Some(placed)));
            steps.push(confirmation(db, order.id).await?);
            steps.extend(deliveries(db, order.id).await?);
        }
    }
    Ok(steps)
}

async fn confirmation(db: &PgPool, order: i64) -> sqlx::Result<Step> {
    let step = |class, text: &str, at, note| Step {
        class,
        text: text.to_owned(),
        at,
        note,
    };
    let sent = sqlx::query_scalar!(
        "select confirmed_at from order_confirmation where order_id = $1",
        order
    );
    if let Some(at) = sent.fetch_optional(db).await? {
        return Ok(step("good", "Confirmation sent", Some(at), String::new()));
    }
    // No index knows the orders of the outbox, so it is searched only for those that it may still have.
    let owed = sqlx::query!(
        "select dead_at, error, handouts from outbox where order_ids @> array[$1::bigint] limit 1",
        order
    );
    let Some(owed) = owed.fetch_optional(db).await? else {
        return Ok(step("open", "Confirmation is owed", None, String::new()));
    };
    let (class, text) = match owed.dead_at {
        Some(_) => ("bad", "Confirmation given up"),
        None => ("open", "Confirmation is owed"),
    };
    let error = owed.error.unwrap_or_default();
    let note = match owed.handouts {
        0 => error,
        times => format!("Handed out {times} times. {error}"),
    };
    Ok(step(class, text, owed.dead_at, note))
}

async fn deliveries(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Vec<Step>> {
    let rows = sqlx::query!(
        "select channel, attempts, error, due_at, delivered_at, dead_at from delivery where order_id = $1 order by id",
        order
    )
    .fetch_all(db)
    .await?;
    let step = |channel: &str, state: (&'static str, &str), at, note| Step {
        class: state.0,
        text: format!(
            "{} {}",
            if channel == "email" { "E-mail" } else { "Webhook" },
            state.1
        ),
        at,
        note,
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let tried = format!("Sent {} times. {}", row.attempts, row.error.unwrap_or_default());
            match (row.delivered_at, row.dead_at) {
                (Some(at), _) => step(&row.channel, ("good", "delivered"), Some(at), String::new()),
                (None, Some(at)) => step(&row.channel, ("bad", "given up"), Some(at), tried),
                _ if row.attempts == 0 => step(&row.channel, ("open", "is due"), row.due_at, String::new()),
                _ => step(&row.channel, ("open", "is tried again"), row.due_at, tried),
            }
        })
        .collect())
}

async fn entries(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"select at, action, coalesce(actor_name, actor, 'anyone') as "actor!", request_id
           from audit_log where subject = $1 order by id limit 20"#,
        format!("order:{order}")
    )
    .fetch_all(db)
    .await
}
