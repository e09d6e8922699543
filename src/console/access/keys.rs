//! `/admin/access/keys/`: the API keys of programs. A key is shown once, after it was created.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::Days;

use sqlx::PgPool;

use super::{
    Superuser,
    stores::{self, Offer},
};
use crate::{
    auth::{
        Scope, Scopes, Stores,
        api_key::{self, ApiKey, NewKey, State as KeyState},
    },
    console::{
        confirm::Confirm,
        error::ConsoleError,
        flash::{redirect_with_flash, redirect_with_warning},
        form::Form,
        format::Moment,
        page::{Frame, Id, render},
        query::{PAGE_SIZE, Pager, Query},
        state::Console,
    },
    db::{self, ReadPool},
    http::Reads,
};

const PATH: &str = "/admin/access/keys/";

/// Days after which a key may expire, and their labels.
const TERMS: [(&str, &str); 4] = [
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    ("", "Never"),
];

#[derive(Template)]
#[template(path = "keys.html")]
struct List {
    frame: Frame,
    query: Query,
    rows: Vec<Row>,
    pager: Pager,
}

/// A row of the list.
struct Row {
    stores: String,
    state: KeyState,
    created_at: Moment,
    expires_at: Option<Moment>,
    last_used_at: Option<Moment>,
    key: ApiKey,
}

#[derive(Template)]
#[template(path = "key_form.html")]
struct Page<'a> {
    frame: Frame,
    form: &'a Form,
    offer: Offer,
    terms: &'static [(&'static str, &'static str)],
}

#[derive(Template)]
#[template(path = "key_made.html")]
struct Made {
    frame: Frame,
    key: ApiKey,
    text: String,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/access/keys/", get(list))
        .route("/admin/access/keys/new/", get(blank).post(create))
        .route("/admin/access/keys/{id}/revoke/", get(ask).post(revoke))
}

async fn list(Reads(db): Reads, me: Superuser, mut query: Query) -> Result<Response, ConsoleError> {
    let sorted = query.sort(&["state", "name", "expires", "used"]);
    let mut keys = query.rows(api_key::list(&db)).await?;
    if let Some(text) = query.get("q") {
        let text = text.to_lowercase();
        keys.retain(|key| key.name.to_lowercase().contains(&text));
    }
    sort(&mut keys, sorted);
    let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    let skipped = usize::try_from(query.offset()).unwrap_or(usize::MAX);
    let shown = usize::try_from(PAGE_SIZE + 1).unwrap_or(usize::MAX);
    let mut keys: Vec<ApiKey> = keys.into_iter().skip(skipped).take(shown).collect();
    let pager = query.pager(&mut keys, Some(count));
    let bound = stores::words(&db, keys.iter().map(|key| key.stores.as_deref())).await?;
    let now = db::now(&db).await?;
    let rows = keys.into_iter().zip(bound).map(|(key, stores)| Row {
        stores,
        state: key.state(now),
        created_at: key.created_at.into(),
        expires_at: key.expires_at.map(Moment::from),
        last_used_at: key.last_used_at.map(Moment::from),
        key,
    });
    Ok(render(&List {
        frame: me.frame("API keys"),
        rows: rows.collect(),
        pager,
        query,
    }))
}

/// Sorts keys, which come active ones first, then newest first.
fn sort(keys: &mut [ApiKey], (column, downwards): (&str, bool)) {
    match column {
        "name" => keys.sort_by_key(|key| key.name.to_lowercase()),
        // Keys that never expire are last.
        "expires" => keys.sort_by_key(|key| (key.expires_at.is_none(), key.expires_at)),
        "used" => keys.sort_by_key(|key| key.last_used_at),
        _ => {}
    }
    if downwards {
        keys.reverse();
    }
}

async fn blank(Reads(db): Reads, me: Superuser) -> Result<Response, ConsoleError> {
    let form = Form::of([("bound", "all".into()), ("term", "90".into())]);
    page(&db, &me, &form).await
}

async fn create(
    State(console): State<Console>,
    me: Superuser,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let db = &console.app.database.reads;
    let new = read(db, &mut form).await?;
    if !form.is_good() {
        return page(db, &me, &form).await;
    }
    let mut tx = console.app.database.pool.begin().await?;
    let (key, text) = api_key::create(&mut tx, &console.secret, &new, &me.0.caller.audit_context()).await?;
    db::commit(tx).await?;
    let frame = me.frame("New key");
    Ok(render(&Made { frame, key, text }))
}

/// Reads the form, and adds the errors of its fields.
async fn read(db: &ReadPool, form: &mut Form) -> Result<NewKey, ConsoleError> {
    let name = form.text("name").trim().to_owned();
    if name.is_empty() {
        form.add_error("name", "A key needs a name, such as that of its program.");
    } else if !api_key::is_name(&name) {
        form.add_error("name", "A name has at most 100 characters, on one line.");
    }
    let scopes: Vec<Scope> = form.all("scope").filter_map(|scope| scope.parse().ok()).collect();
    if scopes.is_empty() {
        form.add_error("scopes", "Choose at least one scope.");
    }
    let stores = stores::read(db, form).await?;
    if stores.as_ref().is_some_and(Vec::is_empty) {
        form.add_error("stores", "Choose at least one store, or all stores.");
    }
    let known = TERMS.iter().find(|(days, _)| *days == form.text("term"));
    let days = known.and_then(|(days, _)| days.parse::<u64>().ok());
    if known.is_none() {
        form.add_error("term", "Choose when the key expires.");
    }
    let now = db::now(db).await?;
    Ok(NewKey {
        name,
        scopes: scopes.into_iter().collect::<Scopes>(),
        stores: Stores::of_column(stores),
        expires_at: days.and_then(|days| now.checked_add_days(Days::new(days))),
    })
}

async fn page(db: &ReadPool, me: &Superuser, form: &Form) -> Result<Response, ConsoleError> {
    let page = Page {
        frame: me.frame("New key"),
        form,
        offer: stores::offer(db, form).await?,
        terms: &TERMS,
    };
    Ok(form.shown(render(&page)))
}

async fn ask(Reads(db): Reads, me: Superuser, Id(id): Id) -> Result<Response, ConsoleError> {
    let key = api_key::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    let is_over = key.revoked_at.is_some();
    let question = Confirm {
        frame: me.frame(format!("Revoke the key {}?", key.name)),
        effects: vec![
            "Requests with this key are rejected within five seconds. This cannot be undone.".to_owned(),
        ],
        obstacle: if is_over {
            "This key was already revoked.".to_owned()
        } else {
            String::new()
        },
        action: format!("{PATH}{id}/revoke/"),
        yes: "Revoke key",
        back: PATH.to_owned(),
        instead: None,
        form: Form::of([]),
    };
    Ok(question.into_response())
}

async fn revoke(State(pool): State<PgPool>, me: Superuser, Id(id): Id) -> Result<Response, ConsoleError> {
    let mut tx = pool.begin().await?;
    let revoked = api_key::revoke(&mut tx, id, &me.0.caller.audit_context()).await?;
    db::commit(tx).await?;
    Ok(match revoked {
        Some(key) => redirect_with_flash(PATH, format!("Key {} revoked.", key.name)),
        None => redirect_with_warning(PATH, "This key was already revoked."),
    })
}
