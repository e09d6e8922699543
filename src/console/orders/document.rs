//! `/admin/orders/{id}/cancel/`, `fulfill/` and `return/`: what happens to the items of an order.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::SECTION;
use crate::{
    auth::Scope,
    console::{
        confirm::plural,
        error::ConsoleError,
        flash,
        form::{FieldKind, Form, check},
        operator::Operator,
        page::{Frame, Id, render},
        state::Console,
    },
    http::FormFields,
    order::{
        Order, OrderItem,
        document::{self, Kind},
    },
};

/// The fields that the idempotency key is about.
const FIELDS: [&str; 6] = ["item", "quantity", "reason", "note", "restock", "refund_amount"];

/// A kind of documents, as operators see it.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    kind: Kind,
    /// The last part of the path.
    path: &'static str,
    title: &'static str,
    button: &'static str,
    /// The word for the units afterwards.
    done: &'static str,
}

pub const CANCEL: Action = Action {
    kind: Kind::Cancellation,
    path: "cancel",
    title: "Cancel items",
    button: "Cancel these items",
    done: "cancelled",
};
pub const FULFILL: Action = Action {
    kind: Kind::Fulfillment,
    path: "fulfill",
    title: "Hand over items",
    button: "Hand over these items",
    done: "handed over",
};
pub const RETURN: Action = Action {
    kind: Kind::Return,
    path: "return",
    title: "Take back items",
    button: "Take back these items",
    done: "returned",
};

/// The links to the actions that an order permits, with their titles.
pub fn links(order: &Order) -> Vec<(&'static str, &'static str)> {
    let actions = [FULFILL, CANCEL, RETURN].into_iter();
    let actions = actions.filter(|action| order.permits(action.kind));
    actions.map(|action| (action.path, action.title)).collect()
}

#[derive(Template)]
#[template(path = "orders/document.html")]
struct Page {
    frame: Frame,
    order: i64,
    action: Action,
    form: Form,
    lines: Vec<Line>,
}

/// An item of the order with units that are left.
struct Line {
    item: OrderItem,
    left: i32,
    quantity: String,
}

/// The part of a document that the next page tells.
#[derive(Deserialize)]
struct Added {
    units: i64,
}

pub async fn show(
    operator: Operator,
    Id(id): Id,
    Extension(action): Extension<Action>,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    let order = find(&console, &operator, id).await?;
    let form = Form::of([("restock", check(true))]);
    Ok(page(&operator, action, order, form))
}

pub async fn add(
    operator: Operator,
    Id(id): Id,
    Extension(action): Extension<Action>,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    let order = find(&console, &operator, id).await?;
    let source = source(&form, action.kind);
    let command = |context| {
        let source = &source;
        async move {
            let answer = document::add(&context, id, source, action.kind).await?.answer;
            Ok(Added {
                units: answer.units(),
            })
        }
    };
    let purpose = format!("{} {id}", action.path);
    match console
        .create(&operator, &form, (&purpose, &FIELDS), command)
        .await
    {
        Ok(Added { units }) => {
            let done = format!("{} {}.", plural(units, "unit", "units"), action.done);
            Ok(flash::redirect_with_flash(&format!("{SECTION}{id}/"), done))
        }
        Err(error) => {
            let form = form.refused(error)?;
            Ok((form.status(), page(&operator, action, order, form)).into_response())
        }
    }
}

async fn find(console: &Console, operator: &Operator, id: i64) -> Result<Order, ConsoleError> {
    operator.require(operator.may(Scope::OrdersManage))?;
    super::find(&console.app.database.reads, operator, id).await
}

/// The input of the command: the items with a quantity, which is validated as typed.
fn source(form: &Form, kind: Kind) -> FormFields<'_> {
    let lines = form.all("item").zip(form.all("quantity"));
    let items = lines
        .filter(|(_, quantity)| !["", "0"].contains(&quantity.trim()))
        .map(|(item, quantity)| {
            FormFields::default()
                .text("order_item_id", item)
                .text("quantity", quantity.trim())
        });
    let source = FormFields::default().list("items", items.collect());
    if kind == Kind::Fulfillment {
        return form.add_to(source, "note", FieldKind::Optional);
    }
    let source = form.add_to(source, "reason", FieldKind::Text);
    let source = form.add_to(source, "restock", FieldKind::Checkbox);
    let has_refund = !form.text("refund_amount").trim().is_empty();
    if has_refund {
        return form.add_to(source, "refund_amount", FieldKind::Amount);
    }
    source
}

fn page(operator: &Operator, action: Action, order: Order, form: Form) -> Response {
    let typed: Vec<(String, String)> = form
        .all("item")
        .zip(form.all("quantity"))
        .map(|(item, quantity)| (item.to_owned(), quantity.to_owned()))
        .collect();
    let lefts: Vec<i32> = order
        .items
        .iter()
        .map(|item| order.left(item, action.kind))
        .collect();
    let lines = order.items.into_iter().zip(lefts).filter(|(_, left)| *left > 0);
    let lines = lines.map(|(item, left)| Line {
        quantity: typed
            .iter()
            .find(|(id, _)| *id == item.id.to_string())
            .map_or_else(|| left.to_string(), |(_, quantity)| quantity.clone()),
        item,
        left,
    });
    render(&Page {
        frame: Frame::new(
            operator,
            SECTION,
            format!("{} of order {}", action.title, order.id),
        ),
        order: order.id,
        action,
        lines: lines.collect(),
        form,
    })
}
