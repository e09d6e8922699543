//! `/admin/orders/{id}/`: one order, its timeline, and why it was rejected.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};

use super::{
    SECTION, document, find,
    queries::{self, Delivery, Document, RejectedProduct},
};
use crate::{
    auth::Scope,
    console::{
        audit::{self, Entry},
        confirm::plural,
        error::ConsoleError,
        operator::Operator,
        page::{Frame, Id, render},
        query::Query,
    },
    db::ReadPool,
    http::Reads,
    order::{Order, Progress, Rejection, RejectionCode, Status},
};

/// Audit entries that the page shows.
const ENTRIES: i64 = 20;

#[derive(Template)]
#[template(path = "orders/detail.html")]
struct Page {
    frame: Frame,
    order: Order,
    rejected: Vec<Rejected>,
    steps: Vec<Step>,
    entries: Vec<Entry>,
    /// The paths and titles of what can be done with its items.
    actions: Vec<(&'static str, &'static str)>,
    /// Where an order that was just rejected can be edited; blank for any other.
    again: String,
}

/// An item that the order was rejected for, and the current stock of its product.
struct Rejected {
    rejection: Rejection,
    product: Option<RejectedProduct>,
}

/// Something that happened to the order, or is still to happen.
struct Step {
    /// `good`, `bad` or `open`.
    class: &'static str,
    text: String,
    at: Option<DateTime<Utc>>,
    note: String,
}

impl Page {
    /// The entry of the placement. While the API is open, it has none.
    fn placed(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.action == "order.placed")
    }

    /// What happened to the units of an item, such as `2 handed over, 1 returned`.
    #[expect(clippy::unused_self, reason = "templates call methods of the page")]
    fn happened(&self, progress: &Progress) -> String {
        let units = [
            (progress.cancelled, "cancelled"),
            (progress.fulfilled, "handed over"),
            (progress.returned, "returned"),
        ];
        let units = units.into_iter().filter(|(units, _)| *units > 0);
        units
            .map(|(units, done)| format!("{units} {done}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Step {
    fn new(class: &'static str, text: impl Into<String>, at: Option<DateTime<Utc>>) -> Self {
        let (text, note) = (text.into(), String::new());
        Self {
            class,
            text,
            at,
            note,
        }
    }

    fn note(self, note: impl Into<String>) -> Self {
        let note = note.into();
        Self { note, ..self }
    }
}

impl Rejected {
    fn why(&self) -> &'static str {
        match self.rejection.code {
            RejectionCode::ProductNotFound => "Unknown or inactive product",
            RejectionCode::NotInStore => "Not sold in this store",
            RejectionCode::InsufficientStock => "Not enough in stock",
        }
    }

    /// The stock row of the product, and its quantity now.
    fn stock(&self) -> Option<(i64, i32)> {
        let product = self.product.as_ref()?;
        product.stock_id.zip(product.quantity)
    }
}

pub async fn show(
    operator: Operator,
    query: Query,
    Id(id): Id,
    Reads(db): Reads,
) -> Result<Response, ConsoleError> {
    let order = find(&db, &operator, id).await?;
    let rejected = rejected(&db, &order).await?;
    let steps = steps(&db, &order).await?;
    let entries = audit::entries(&db, &format!("order:{id}"), ENTRIES).await?;
    let frame = Frame::new(&operator, SECTION, format!("Order {}", order.id));
    let is_new = query.get("again").is_some() && order.status == Status::Rejected;
    let lines = Query::from(query.text("again").trim_start_matches('?'));
    let again = format!("{SECTION}new/{}", lines.here());
    Ok(render(&Page {
        again: if is_new { again } else { String::new() },
        actions: if operator.may(Scope::OrdersManage) {
            document::links(&order)
        } else {
            Vec::new()
        },
        frame,
        order,
        rejected,
        steps,
        entries,
    }))
}

/// `/admin/orders/{id}/json/`: what the API answers.
pub async fn json(operator: Operator, Id(id): Id, Reads(db): Reads) -> Result<Response, ConsoleError> {
    Ok(Json(find(&db, &operator, id).await?).into_response())
}

async fn rejected(db: &ReadPool, order: &Order) -> sqlx::Result<Vec<Rejected>> {
    let rejections = order.rejections.clone().unwrap_or_default();
    let products: Vec<i64> = rejections.iter().map(|rejection| rejection.product_id).collect();
    let products = queries::rejected_products(db, order, &products).await?;
    let mut products: HashMap<i64, _> = products
        .into_iter()
        .map(|product| (product.id, product))
        .collect();
    let of = |rejection: Rejection| Rejected {
        product: products.remove(&rejection.product_id),
        rejection,
    };
    Ok(rejections.into_iter().map(of).collect())
}

async fn steps(db: &ReadPool, order: &Order) -> sqlx::Result<Vec<Step>> {
    let placed = Some(order.created_at.0);
    let mut steps = vec![Step::new("good", "Placed", placed)];
    match order.status {
        Status::Pending => steps.push(Step::new("open", "Not decided yet", None)),
        Status::Rejected => steps.push(Step::new("bad", "Rejected", placed).note(&order.rejection_reason)),
        Status::Confirmed | Status::Cancelled => {
            steps.push(Step::new("good", "Confirmed", placed));
            steps.push(confirmation(db, order.id).await?);
            let deliveries = queries::deliveries(db, order.id).await?;
            steps.extend(deliveries.into_iter().map(delivery));
            let documents = queries::documents(db, order.id).await?;
            steps.extend(documents.into_iter().map(of_document));
        }
    }
    Ok(steps)
}

async fn confirmation(db: &ReadPool, order: i64) -> sqlx::Result<Step> {
    if let Some((at, is_withheld)) = queries::confirmed_at(db, order).await? {
        return Ok(if is_withheld {
            Step::new(
                "good",
                "Confirmation not sent, because the order was cancelled",
                Some(at),
            )
        } else {
            Step::new("good", "Confirmation sent", Some(at))
        });
    }
    let Some(entry) = queries::outbox_entry(db, order).await? else {
        return Ok(Step::new("open", "Confirmation pending", None));
    };
    let step = match entry.dead_at {
        Some(at) => Step::new("bad", "Confirmation failed", Some(at)),
        None => Step::new("open", "Confirmation pending", None),
    };
    Ok(step.note(attempts("Attempted", entry.attempts, entry.error)))
}

fn delivery(delivery: Delivery) -> Step {
    let (class, state, at) = match (delivery.delivered_at, delivery.dead_at) {
        (Some(at), _) => ("good", "delivered", Some(at)),
        (None, Some(at)) => ("bad", "failed", Some(at)),
        _ if delivery.attempts == 0 => ("open", "pending", delivery.due_at),
        _ => ("open", "will be retried", delivery.due_at),
    };
    let channel = if delivery.channel == "email" {
        "Email"
    } else {
        "Webhook"
    };
    let step = Step::new(class, format!("{channel} {state}"), at);
    if class == "good" {
        return step;
    }
    step.note(attempts("Sent", delivery.attempts, delivery.error))
}

fn of_document(document: Document) -> Step {
    let done = match document.kind.as_str() {
        "CANCELLATION" => "cancelled",
        "FULFILLMENT" => "handed over",
        _ => "returned",
    };
    let units = plural(document.units, "unit", "units");
    Step::new("good", format!("{units} {done}"), Some(document.created_at)).note(document.note)
}

/// The attempts so far and the last error, in sentences.
fn attempts(verb: &str, attempts: i32, error: Option<String>) -> String {
    let attempts = match attempts {
        0 => String::new(),
        1 => format!("{verb} once. "),
        times => format!("{verb} {times} times. "),
    };
    let error = error.unwrap_or_default();
    let mut letters = error.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{attempts}{first}{}", letters.as_str())
}
