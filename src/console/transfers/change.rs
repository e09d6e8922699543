//! `/admin/transfers/{id}/ship/`, `receive/` and `cancel/`: what happens to a transfer.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};

use super::SECTION;
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::Form,
        operator::Operator,
        page::{Frame, Id, render},
        state::{Console, Created},
    },
    http::FormFields,
    transfer::{self, Status, Transfer, TransferItem},
};

/// The fields that the idempotency key is about.
const FIELDS: [&str; 8] = [
    "product", "quantity", "received", "damaged", "missing", "returned", "lost", "close",
];

/// An action on a transfer, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Ship,
    Receive,
    Cancel,
}

impl Action {
    /// The last part of the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Ship => "ship",
            Self::Receive => "receive",
            Self::Cancel => "cancel",
        }
    }

    /// The word on its buttons.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ship => "Ship",
            Self::Receive => "Receive",
            Self::Cancel => "Cancel transfer",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Ship => "Transfer shipped.",
            Self::Receive => "Receipt recorded.",
            Self::Cancel => "Transfer cancelled.",
        }
    }

    /// The numbers that its form asks for, with their labels.
    fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ship => &[("quantity", "Quantity")],
            Self::Receive => &[
                ("received", "Received"),
                ("damaged", "Damaged"),
                ("missing", "Missing"),
            ],
            Self::Cancel => &[("returned", "Returned"), ("lost", "Lost")],
        }
    }

    /// Whether the operator may act for the store.
    fn is_granted(self, operator: &Operator, transfer: &Transfer) -> bool {
        let store = match self {
            Self::Ship | Self::Cancel => transfer.from_store.id,
            Self::Receive => transfer.to_store.id,
        };
        operator.may(Scope::InventoryWrite) && operator.caller.grant.stores.contains(store)
    }

    /// Whether the operator may do it now.
    pub fn is_open(self, operator: &Operator, transfer: &Transfer) -> bool {
        transfer.status.permits(self.path()) && self.is_granted(operator, transfer)
    }
}

#[derive(Template)]
#[template(path = "transfers/change.html")]
struct Page {
    frame: Frame,
    transfer: Transfer,
    action: Action,
    form: Form,
    lines: Vec<Line>,
}

/// An item, with the units that the action is about, and the values of its columns.
struct Line {
    item: TransferItem,
    left: i32,
    values: Vec<String>,
}

pub async fn show(
    operator: Operator,
    Id(id): Id,
    Extension(action): Extension<Action>,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    let transfer = find(&console, &operator, id, action).await?;
    Ok(page(&operator, action, transfer, Form::of([])))
}

pub async fn make(
    operator: Operator,
    Id(id): Id,
    Extension(action): Extension<Action>,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    let transfer = find(&console, &operator, id, action).await?;
    let source = source(&form, action, &transfer);
    let command = |context| {
        let source = &source;
        async move {
            let answered = match action {
                Action::Ship => transfer::ship(&context, id, source).await,
                Action::Receive => transfer::receive(&context, id, source).await,
                Action::Cancel => transfer::cancel(&context, id, source).await,
            };
            let id = answered?.answer.id;
            Ok(Created { id })
        }
    };
    let purpose = format!("transfer {} {id}", action.path());
    match console
        .create(&operator, &form, (&purpose, &FIELDS), command)
        .await
    {
        Ok(Created { id }) => Ok(flash::redirect_with_flash(
            &format!("{SECTION}{id}/"),
            action.done().to_owned(),
        )),
        Err(error) => {
            let form = form.refused(error)?;
            Ok((form.status(), page(&operator, action, transfer, form)).into_response())
        }
    }
}

/// A transfer that the operator sees, and may act on for the store.
async fn find(
    console: &Console,
    operator: &Operator,
    id: i64,
    action: Action,
) -> Result<Transfer, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let stores = &operator.caller.grant.stores;
    let transfer = transfer::get(&console.app.database.reads, stores, id).await?;
    operator.require(action.is_granted(operator, &transfer))?;
    Ok(transfer)
}

/// The input of the command: the items with numbers, which are validated as typed. A draft is cancelled without items.
fn source<'a>(form: &'a Form, action: Action, transfer: &Transfer) -> FormFields<'a> {
    let columns = action.columns();
    let items = form.all("product").enumerate().filter_map(|(place, product)| {
        let item = FormFields::default().text("product_id", product);
        let typed = columns.iter().filter_map(|(name, _)| {
            let value = form.all(name).nth(place)?.trim();
            (!["", "0"].contains(&value)).then_some((*name, value))
        });
        let typed: Vec<_> = typed.collect();
        let add = |item: FormFields<'a>, (name, value): (&'static str, &'a str)| item.text(name, value);
        (!typed.is_empty()).then(|| typed.into_iter().fold(item, add))
    });
    let items: Vec<FormFields<'a>> = items.collect();
    let is_draft = action == Action::Cancel && transfer.status == Status::Draft;
    let closes = action == Action::Receive && form.is_checked("close");
    let source = FormFields::default();
    let source = if action == Action::Receive {
        source.checkbox("close", closes)
    } else {
        source
    };
    if is_draft || (closes && items.is_empty()) {
        source
    } else {
        source.list("items", items)
    }
}

fn page(operator: &Operator, action: Action, transfer: Transfer, form: Form) -> Response {
    let left = |item: &TransferItem| match action {
        Action::Ship => item.quantity,
        Action::Receive | Action::Cancel => item.in_transit,
    };
    let value = |item: &TransferItem, column: usize, name: &str| {
        let id = item.product_id.to_string();
        let place = form.all("product").position(|product| product == id);
        match place.and_then(|place| form.all(name).nth(place)) {
            Some(typed) => typed.to_owned(),
            // Most often all is there.
            None if column == 0 => left(item).to_string(),
            None => "0".to_owned(),
        }
    };
    let items = transfer.items.iter().filter(|item| left(item) > 0);
    let lines = items.map(|item| Line {
        item: item.clone(),
        left: left(item),
        values: (0..)
            .zip(action.columns())
            .map(|(column, (name, _))| value(item, column, name))
            .collect(),
    });
    let lines = lines.collect();
    let title = format!("{}: transfer {}", action.title(), transfer.id);
    render(&Page {
        frame: Frame::new(operator, SECTION, title),
        transfer,
        action,
        lines,
        form,
    })
}
