//! `/admin/transfers/new/`: a new transfer, whose products are named by SKU or number.

use askama::Template;
use axum::{extract::State, response::Response};

use super::SECTION;
use crate::{
    auth::Scope,
    console::{
        error::ConsoleError,
        flash,
        form::{FieldKind, Form},
        operator::Operator,
        options::{self, Choice},
        page::{Frame, render},
        query::Query,
        state::{Console, Created},
    },
    http::FormFields,
    transfer,
};

/// Rows of the form for items.
const ROWS: usize = 8;
const FIELDS: [(&str, FieldKind); 4] = [
    ("from_store_id", FieldKind::Text),
    ("to_store_id", FieldKind::Text),
    ("reference", FieldKind::Optional),
    ("immediate", FieldKind::Checkbox),
];
/// The fields that the idempotency key is about.
const KEYED: [&str; 6] = [
    "from_store_id",
    "to_store_id",
    "reference",
    "immediate",
    "product",
    "quantity",
];

#[derive(Template)]
#[template(path = "transfers/new.html")]
struct Page {
    frame: Frame,
    form: Form,
    /// The stores that the operator may ship from.
    sources: Vec<Choice>,
    /// All stores.
    stores: Vec<Choice>,
    /// Product and quantity as they were typed.
    rows: Vec<(String, String)>,
}

pub async fn show(
    operator: Operator,
    query: Query,
    State(console): State<Console>,
) -> Result<Response, ConsoleError> {
    let form = Form::of(["from_store_id", "to_store_id"].map(|name| (name, query.text(name).to_owned())));
    page(&console, &operator, form).await
}

pub async fn create(
    operator: Operator,
    State(console): State<Console>,
    form: Form,
) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let source = FIELDS
        .into_iter()
        .fold(FormFields::default(), |source, (name, kind)| {
            form.add_to(source, name, kind)
        });
    let source = source.list("items", items(&form));
    let command = |context| {
        let source = &source;
        async move {
            let id = transfer::create(&context, source).await?.answer.id;
            Ok(Created { id })
        }
    };
    match console
        .create(&operator, &form, ("transfer", &KEYED), command)
        .await
    {
        Ok(Created { id }) => {
            let done = format!("Transfer {id} created.");
            Ok(flash::redirect_with_flash(&format!("{SECTION}{id}/"), done))
        }
        Err(error) => page(&console, &operator, form.refused(error)?).await,
    }
}

/// The rows with a product or a quantity. A product is named by its SKU, or by `#` and its number.
fn items(form: &Form) -> Vec<FormFields<'_>> {
    let rows = form.all("product").zip(form.all("quantity"));
    let rows = rows.map(|(product, quantity)| (product.trim(), quantity.trim()));
    let rows = rows.filter(|(product, quantity)| !product.is_empty() || !quantity.is_empty());
    let item = |(product, quantity): (&'_ str, &'_ str)| {
        let (name, product) = match product.strip_prefix('#') {
            Some(number) => ("product_id", number),
            None => ("sku", product),
        };
        FormFields::default()
            .text(name, product.to_owned())
            .text("quantity", quantity.to_owned())
    };
    rows.map(item).collect()
}

async fn page(console: &Console, operator: &Operator, form: Form) -> Result<Response, ConsoleError> {
    operator.require(operator.may(Scope::InventoryWrite))?;
    let db = &console.app.database.reads;
    let typed = form.all("product").zip(form.all("quantity"));
    let mut rows: Vec<(String, String)> = typed
        .map(|(product, quantity)| (product.to_owned(), quantity.to_owned()))
        .collect();
    rows.resize_with(rows.len().max(ROWS), Default::default);
    let page = Page {
        frame: Frame::new(operator, SECTION, "New transfer"),
        sources: options::stores(db, &operator.caller.grant.stores).await?,
        stores: options::stores(db, &crate::auth::Stores::All).await?,
        rows,
        form,
    };
    let html = render(&page);
    Ok(page.form.shown(html))
}
