//! `/admin/orders/new/`: an order by hand, with the current stock of its store. The query has the lines until the order is
//! placed, so that a browser without JavaScript can search and add.

use std::{borrow::Borrow, collections::HashMap};

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::SECTION;
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::{Form, NOT_SAVED},
        format::amount,
        operator::Operator,
        options::{self, Choice, FoundProduct},
        page::{Frame, render},
        query::Query,
        state::Console,
    },
    db::ReadPool,
    http::{ApiError, AppState, FieldErrors, FormFields},
    money::Money,
    order::commands,
};

const PATH: &str = "/admin/orders/new/";
/// Parameters that change the lines. A redirect takes them off, so that a reload does not repeat them.
const CHANGES: [&str; 3] = ["add", "first", "remove"];
/// Lines that an order may have.
const MOST_LINES: usize = 100;

#[derive(Template)]
#[template(path = "orders/new.html")]
struct Page {
    frame: Frame,
    form: Form,
    stores: Vec<Choice>,
    store: Option<i64>,
    lines: Vec<Line>,
    /// The sum of the lines at current prices, if all quantities are numbers.
    total: Option<Money>,
    search: String,
    products: Vec<FoundProduct>,
    errors: Vec<String>,
    /// The error if no store was chosen.
    no_store: &'static str,
}

impl Page {
    fn is_chosen(&self, store: impl Borrow<i64>) -> bool {
        self.store == Some(*store.borrow())
    }
}

/// The results of a search, which htmx puts in their place.
#[derive(Template)]
#[template(path = "orders/found.html")]
struct Found {
    store: Option<i64>,
    search: String,
    products: Vec<FoundProduct>,
}

/// A line of the order.
struct Line {
    product_id: i64,
    /// `None` for an unknown product.
    title: Option<String>,
    price: Money,
    /// The current stock; `None` if the store does not sell the product.
    stock: Option<i32>,
    quantity: String,
    error: String,
}

impl Line {
    fn subtotal(&self) -> Option<Money> {
        self.price.times(self.quantity.parse().ok()?)
    }

    /// Whether the line asks for more than the store has.
    fn is_short(&self) -> bool {
        let quantity = self.quantity.parse::<i64>();
        quantity.is_ok_and(|quantity| self.stock.is_some_and(|stock| quantity > stock.into()))
    }
}

/// The part of an order that the console needs after it was placed.
#[derive(Deserialize)]
struct Placed {
    id: i64,
    status: String,
}

/// An order before it is placed.
struct Draft {
    store: Option<i64>,
    lines: Vec<(i64, String)>,
    search: String,
}

/// The lines of an order, each a product with its quantity as typed. An invalid id is an error: without the line it would be
/// another order.
fn chosen<'a>(
    products: impl Iterator<Item = &'a str>,
    quantities: impl Iterator<Item = &'a str>,
) -> Result<Vec<(i64, String)>, ConsoleError> {
    products
        .zip(quantities)
        .map(|(id, quantity)| {
            let id = id
                .parse()
                .map_err(|_| ConsoleError::Unreadable(StatusCode::BAD_REQUEST))?;
            Ok((id, quantity.trim().to_owned()))
        })
        .collect()
}

impl Draft {
    fn of_query(query: &Query) -> Result<Self, ConsoleError> {
        let mut lines = chosen(query.all("product"), query.all("quantity"))?;
        lines.truncate(MOST_LINES);
        Ok(Self {
            store: query.id("store"),
            lines,
            search: query.text("q").to_owned(),
        })
    }

    fn of_form(form: &Form) -> Result<Self, ConsoleError> {
        let mut lines = chosen(form.all("product"), form.all("quantity"))?;
        // One more than an order may have, so that the command refuses it.
        lines.truncate(MOST_LINES + 1);
        Ok(Self {
            store: form.text("store").parse().ok(),
            lines,
            search: String::new(),
        })
    }

    /// Adds one unit of a product.
    fn add(&mut self, product: i64) {
        if let Some((_, quantity)) = self.lines.iter_mut().find(|(known, _)| *known == product) {
            let number = quantity.parse::<i64>().unwrap_or(0);
            *quantity = number.saturating_add(1).to_string();
        } else if self.lines.len() < MOST_LINES {
            self.lines.push((product, "1".to_owned()));
        }
    }

    /// The query of the page with the same store, lines and search.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        query.extend_pairs(self.store.map(|store| ("store", store.to_string())));
        for (product, quantity) in &self.lines {
            query.append_pair("product", &product.to_string());
            query.append_pair("quantity", quantity);
        }
        if !self.search.is_empty() {
            query.append_pair("q", &self.search);
        }
        query.finish()
    }
}

/// The input of the command, which validates the quantities as typed.
fn source(form: &Form) -> FormFields<'_> {
    let lines = form.all("product").zip(form.all("quantity"));
    let items = lines.take(MOST_LINES + 1).map(|(product, quantity)| {
        FormFields::default()
            .text("product_id", product)
            .text("quantity", quantity)
    });
    FormFields::default()
        .text("store_id", form.text("store"))
        .list("items", items.collect())
}

pub async fn show(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::OrdersWrite))?;
    let mut draft = Draft::of_query(&query)?;
    if CHANGES.iter().all(|name| query.get(name).is_none()) {
        return page(&console, &operator, draft, Form::of([]), None).await;
    }
    let removed = query.id("remove");
    draft.lines.retain(|(product, _)| Some(*product) != removed);
    let first = match query.get("first") {
        Some(_) => find(&console.app, &operator, &draft)
            .await?
            .first()
            .map(|hit| hit.id),
        None => None,
    };
    if let Some(added) = first.or(query.id("add")) {
        draft.add(added);
    }
    Ok(Redirect::to(&format!("{PATH}{}", draft.query())).into_response())
}

/// `/admin/orders/new/products/`: the results of a search, for htmx.
pub async fn found(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::OrdersWrite))?;
    let draft = Draft::of_query(&query)?;
    let products = find(&console.app, &operator, &draft).await?;
    Ok(render(&Found {
        store: draft.store,
        search: draft.search,
        products,
    }))
}

pub async fn place(
    operator: Operator,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::OrdersWrite))?;
    let draft = Draft::of_form(&form)?;
    if draft
        .store
        .is_some_and(|store| !operator.caller.grant.stores.contains(store))
    {
        return Err(ConsoleError::NotFound);
    }
    let source = source(&form);
    let command = |context| {
        let source = &source;
        let placement = &console.placement;
        async move {
            let placed = commands::place(placement, &context, source).await?;
            Ok(Placed {
                id: placed.id,
                status: placed.status.to_string(),
            })
        }
    };
    let purpose = ("order", &["store", "product", "quantity"][..]);
    match console.create(&operator, &form, purpose, command).await {
        Ok(Placed { id, status }) => {
            let page = format!("{SECTION}{id}/");
            Ok(if status == "CONFIRMED" {
                flash::redirect_with_flash(&page, format!("Order #{id} placed and confirmed."))
            } else {
                // The page of the order says why it was rejected.
                let again = Query::default().with("again", draft.query());
                Redirect::to(&(page + &again)).into_response()
            })
        }
        Err(error) => page(&console, &operator, draft, form, Some(error)).await,
    }
}

async fn page(
    console: &Console,
    operator: &Operator,
    mut draft: Draft,
    form: Form,
    refusal: Option<ApiError>,
) -> Result<Response, ConsoleError> {
    let db = &console.app.database.reads;
    draft.store = draft
        .store
        .filter(|store| operator.caller.grant.stores.contains(*store));
    let no_store = match (&refusal, draft.store) {
        (Some(_), None) => "Choose a store.",
        _ => "",
    };
    let (errors, of_lines) = refusal
        .as_ref()
        .map(|error| errors(error, no_store.is_empty()))
        .unwrap_or_default();
    let form = match refusal {
        Some(error) => form.refused(error)?,
        None => form,
    };
    let stores = options::open_stores(db, &operator.caller.grant.stores).await?;
    if let ([only], None) = (&stores[..], draft.store) {
        draft.store = Some(only.id);
    }
    let lines = lines(db, &draft, of_lines).await?;
    let page = Page {
        frame: Frame::new(operator, SECTION, "Create order"),
        products: find(&console.app, operator, &draft).await?,
        total: total(&lines),
        lines,
        store: draft.store,
        stores,
        search: draft.search,
        form,
        errors,
        no_store,
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}

async fn find(app: &AppState, operator: &Operator, draft: &Draft) -> Result<Vec<FoundProduct>, ConsoleError> {
    match draft.store {
        Some(store) if operator.caller.grant.stores.contains(store) && !draft.search.is_empty() => {
            options::products(app, store, &draft.search, true).await
        }
        _ => Ok(Vec::new()),
    }
}

async fn lines(db: &ReadPool, draft: &Draft, errors: Vec<String>) -> sqlx::Result<Vec<Line>> {
    let products: Vec<i64> = draft.lines.iter().map(|(product, _)| *product).collect();
    let known = options::products_by_id(db, draft.store, &products).await?;
    let known: HashMap<i64, _> = known.into_iter().map(|product| (product.id, product)).collect();
    let mut errors = errors.into_iter();
    let line = |(product_id, quantity): &(i64, String)| {
        let row = known.get(product_id);
        Line {
            product_id: *product_id,
            title: row.map(|row| row.title.clone()),
            price: row.map(|row| row.price).unwrap_or_default(),
            stock: row.and_then(|row| row.quantity),
            quantity: quantity.clone(),
            error: errors.next().unwrap_or_default(),
        }
    };
    Ok(draft.lines.iter().map(line).collect())
}

fn total(lines: &[Line]) -> Option<Money> {
    let mut subtotals = lines.iter().map(Line::subtotal);
    subtotals.try_fold(Money::ZERO, |sum, subtotal| sum.plus(subtotal?))
}

/// An amount, or a dash if it is unknown.
fn shown(sum: impl Borrow<Option<Money>>) -> String {
    sum.borrow().map_or_else(|| "–".to_owned(), amount)
}

/// The errors of the order as a whole, and of each of its lines. An error of the store may be shown at its field.
fn errors(refusal: &ApiError, with_store: bool) -> (Vec<String>, Vec<String>) {
    let ApiError::Invalid(fields) = refusal else {
        return (vec![refusal.text().into_owned()], Vec::new());
    };
    let of_store = fields.of("store_id").filter(|_| with_store);
    let mut whole: Vec<String> = of_store.map(FieldErrors::text).into_iter().collect();
    match fields.of("items") {
        Some(FieldErrors::Elements(lines)) => {
            whole.push(NOT_SAVED.to_owned());
            return (whole, lines.iter().map(FieldErrors::text).collect());
        }
        items => whole.extend(items.map(FieldErrors::text)),
    }
    (whole, Vec::new())
}
