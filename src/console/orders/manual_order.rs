//! `/admin/orders/new/`: an order by hand, with what the store has at the moment. Lines are kept in the query until it is placed,
//! so that a browser without JavaScript can search and add.

use std::{borrow::Borrow, collections::HashMap};

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use sqlx::PgPool;

use super::SECTION;
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::Form,
        operator::Operator,
        options::{self, Choice, FoundProduct},
        page::{Frame, render},
        query::Query,
        state::{Console, Created},
    },
    http::{ApiError, AppState, FieldErrors, FormFields},
    money::Money,
    order::commands,
};

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
    /// What the lines cost at the moment, if their quantities are such.
    total: Option<Money>,
    search: String,
    products: Vec<FoundProduct>,
    errors: Vec<String>,
    /// What is said where no store was chosen.
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

/// A line of the order that is being written.
struct Line {
    product_id: i64,
    /// Nothing where there is no such product.
    title: Option<String>,
    price: Money,
    /// What the store has at the moment; nothing where it does not keep the product.
    stock: Option<i32>,
    quantity: String,
    error: String,
}

/// What has been chosen so far.
#[derive(Default)]
struct Draft {
    store: Option<i64>,
    lines: Vec<(i64, String)>,
    search: String,
}

/// The lines of an order, each a product with its quantity as it was typed. An id that is none is refused: the order would
/// be another one without its line.
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
    /// Of the query, where a line may be added or removed.
    fn of_query(query: &Query) -> Result<Self, ConsoleError> {
        let mut lines = chosen(query.all("product"), query.all("quantity"))?;
        let removed = query.id("remove");
        lines.retain(|(product, _)| Some(*product) != removed);
        if let Some(added) = query.id("add")
            && lines.iter().all(|(product, _)| *product != added)
        {
            lines.push((added, "1".to_owned()));
        }
        lines.truncate(MOST_LINES);
        Ok(Self {
            store: query.id("store"),
            lines,
            search: query.text("q").to_owned(),
        })
    }

    /// Of the form that was sent.
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
}

impl Draft {
    /// The query of the page with the same store and lines.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        query.extend_pairs(self.store.map(|store| ("store", store.to_string())));
        for (product, quantity) in &self.lines {
            query.append_pair("product", &product.to_string());
            query.append_pair("quantity", quantity);
        }
        query.finish()
    }
}

/// What the command reads: it judges the quantities as they were typed.
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
    let draft = Draft::of_query(&query)?;
    page(&console, &operator, draft, Form::of([]), None).await
}

/// `/admin/orders/new/products/`: what a search finds, for htmx.
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
            Ok(Created {
                id: placed.id,
                status: placed.status.to_string(),
            })
        }
    };
    let purpose = ("order", &["store", "product", "quantity"][..]);
    match console.create(&operator, &form, purpose, command).await {
        Ok(Created { id, status }) => {
            let page = format!("{SECTION}{id}/");
            Ok(if status == "CONFIRMED" {
                flash::redirect_with_flash(&page, "confirmed")
            } else {
                let again = Query::default().with("again", draft.query());
                flash::redirect_with_flash(&(page + &again), "rejected")
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
    let db = &console.app.database.pool;
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
    if let [only] = &stores[..] {
        draft.store = Some(only.id);
    }
    let lines = lines(db, &draft, of_lines).await?;
    let page = Page {
        frame: Frame::new(operator, SECTION, "Place an order"),
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

async fn lines(db: &PgPool, draft: &Draft, errors: Vec<String>) -> sqlx::Result<Vec<Line>> {
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
    lines.iter().try_fold(Money::ZERO, |sum, line| {
        let price = line.price.times(line.quantity.parse().ok()?)?;
        sum.plus(price)
    })
}

/// What is wrong with the order as a whole, and with each of its lines. An error of the store may be shown at its field.
fn errors(refusal: &ApiError, with_store: bool) -> (Vec<String>, Vec<String>) {
    let ApiError::Invalid(fields) = refusal else {
        return (vec![refusal.text().into_owned()], Vec::new());
    };
    let of_store = fields.of("store_id").filter(|_| with_store);
    let mut whole: Vec<String> = of_store.map(FieldErrors::text).into_iter().collect();
    match fields.of("items") {
        Some(FieldErrors::Elements(lines)) => {
            return (whole, lines.iter().map(FieldErrors::text).collect());
        }
        items => whole.extend(items.map(FieldErrors::text)),
    }
    (whole, Vec::new())
}
