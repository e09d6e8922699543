//! `/admin/stock/new/`: adds a product to the stock of a store.

use std::borrow::Borrow;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{SECTION, detail};
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::{FieldKind, Form},
        operator::Operator,
        options::{self, Choice, FoundProduct},
        page::{Frame, render},
        query::Query,
        state::{Console, Created},
    },
    http::{AppState, FormFields},
    inventory::commands,
};

const TITLE: &str = "Add a product to a store";
const FIELDS: [(&str, FieldKind); 4] = [
    ("store_id", FieldKind::Text),
    ("product_id", FieldKind::Text),
    ("quantity", FieldKind::Optional),
    ("low_stock_threshold", FieldKind::Optional),
];

/// The error of each missing choice.
const MISSING: [(&str, &str); 2] = [
    ("store_id", "Choose a store."),
    ("product_id", "Search for a product and choose it."),
];

#[derive(Template)]
#[template(path = "stock/new.html")]
struct Page {
    frame: Frame,
    form: Form,
    stores: Vec<Choice>,
    found: Found,
}

/// The results of a search.
#[derive(Template)]
#[template(path = "stock/found.html")]
struct Found {
    store: Option<i64>,
    search: String,
    /// The results, after the chosen product.
    products: Vec<FoundProduct>,
    chosen: Option<i64>,
}

impl Found {
    fn is_chosen(&self, product: impl Borrow<i64>) -> bool {
        self.chosen == Some(*product.borrow())
    }

    /// Whether a search in a store found nothing.
    fn is_in_vain(&self) -> bool {
        let of_search = |product: &FoundProduct| self.chosen != Some(product.id);
        !self.search.is_empty() && self.store.is_some() && !self.products.iter().any(of_search)
    }
}

pub async fn show(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let typed = ["store_id", "product_id", "quantity", "low_stock_threshold", "q"];
    let form = Form::of(typed.map(|name| (name, query.text(name).to_owned())));
    let frame = Frame::new(&operator, SECTION, TITLE);
    page(&console, &operator, frame, form).await
}

/// `/admin/stock/new/products/`: the results of a search, for htmx.
pub async fn found(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let form = Form::of(["store_id", "product_id", "q"].map(|name| (name, query.text(name).to_owned())));
    Ok(render(&find(&console.app, &operator, &form).await?))
}

pub async fn create(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let frame = Frame::new(&operator, SECTION, TITLE);
    for (field, sentence) in MISSING {
        if form.text(field).is_empty() {
            form.add_error(field, sentence);
        }
    }
    if !form.is_good() {
        return page(&console, &operator, frame, form).await;
    }
    let source = FIELDS
        .into_iter()
        .fold(FormFields::default(), |source, (name, kind)| {
            form.add_to(source, name, kind)
        });
    let command = |context| {
        let source = &source;
        async move {
            let id = commands::create(&context, source).await?.id;
            Ok(Created { id })
        }
    };
    let purpose = ("stock", &FIELDS.map(|(name, _)| name)[..]);
    match console.create(&operator, &form, purpose, command).await {
        Ok(Created { id }) => {
            let stock = detail::find(&console.app.database.reads, &operator, id).await?;
            let another = Query::default().with("store_id", form.text("store_id"));
            let path = match query.get("another") {
                Some(_) => format!("{SECTION}new/{another}"),
                None => format!("{SECTION}{id}/"),
            };
            let done = format!("{} added to {}.", stock.product_title, stock.store_name);
            Ok(flash::redirect_with_flash(&path, done))
        }
        Err(error) => page(&console, &operator, frame, form.refused(error)?).await,
    }
}

async fn page(
    console: &Console,
    operator: &Operator,
    frame: Frame,
    form: Form,
) -> Result<Response, ConsoleError> {
    let page = Page {
        frame,
        stores: options::stores(&console.app.database.reads, &operator.caller.grant.stores).await?,
        found: find(&console.app, operator, &form).await?,
        form,
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}

async fn find(app: &AppState, operator: &Operator, form: &Form) -> Result<Found, ConsoleError> {
    let store = form.text("store_id").parse().ok();
    let store = store.filter(|store| operator.caller.grant.stores.contains(*store));
    let search = form.text("q").trim().to_owned();
    let mut products = match store {
        Some(store) if !search.is_empty() => options::products(app, store, &search, false).await?,
        _ => Vec::new(),
    };
    let chosen = match form.text("product_id").parse() {
        Ok(id) => options::products_by_id(&app.database.reads, store, &[id])
            .await?
            .pop(),
        Err(_) => None,
    };
    let id = chosen.as_ref().map(|product| product.id);
    if let Some(chosen) = chosen {
        products.retain(|product| product.id != chosen.id);
        products.insert(0, chosen);
    }
    Ok(Found {
        store,
        search,
        products,
        chosen: id,
    })
}
