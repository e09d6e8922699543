//! `/admin/setup/`: the first account, by a link that `afforo dev` prints.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use axum_extra::extract::SignedCookieJar;

use super::{
    error::ConsoleError,
    form::Form,
    new_password,
    page::{Frame, render},
    query::Query,
    session::{SessionCookie, Visitor},
    state::Console,
};
use crate::{
    audit::Actor,
    auth::{
        AccountFields, ClientInfo, Role,
        accounts::{self, AccountError},
        login::{Credentials, Login},
        password, setup,
    },
    db,
    telemetry::LineLimit,
};

/// Log lines about refused links, per minute.
static REFUSALS: LineLimit = LineLimit::new(10);

#[derive(Template)]
#[template(path = "setup.html")]
struct Page<'a> {
    frame: Frame,
    form: &'a Form,
}

#[derive(Template)]
#[template(path = "setup_over.html")]
struct Over {
    frame: Frame,
}

pub fn router() -> Router<Console> {
    Router::new().route("/admin/setup/", get(show).post(create))
}

async fn show(State(console): State<Console>, query: Query) -> Result<Response, ConsoleError> {
    let token = query.text("token").to_owned();
    if !setup::is_open(&console.app.database.pool, &console.secret, &token).await? {
        return Ok(over());
    }
    Ok(page(&Form::of([("token", token)])))
}

async fn create(
    State(console): State<Console>,
    Visitor(visit): Visitor,
    cookie: SessionCookie,
    jar: SignedCookieJar,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let db = &console.app.database.pool;
    if !setup::is_open(db, &console.secret, form.text("token")).await? {
        return Ok(over());
    }
    let fields = AccountFields {
        username: form.text("username").trim().to_owned(),
        email: form.text("email").trim().to_owned(),
        role: Role::Superuser,
        stores: None,
        is_active: true,
    };
    for (field, sentence) in fields.faults() {
        form.add_error(field, sentence);
    }
    new_password::check(&mut form, &fields.username, &fields.email);
    if !form.is_good() {
        return Ok(page(&form));
    }
    let credentials = Credentials {
        username: fields.username.clone(),
        password: new_password::of(&form),
    };
    if !create_first(&console, &fields, &credentials, &visit).await? {
        return Ok(over());
    }
    let to = Redirect::to("/admin/");
    Ok(match console.logins.log_in(&credentials, &visit).await {
        Ok(Login::Done(token)) => (cookie.give(jar, &token), to).into_response(),
        _ => to.into_response(),
    })
}

/// Creates the account. `false` if another account exists by now.
async fn create_first(
    console: &Console,
    fields: &AccountFields,
    credentials: &Credentials,
    visit: &ClientInfo,
) -> Result<bool, ConsoleError> {
    let hash = password::hash(&credentials.password).await?;
    let mut tx = console.app.database.pool.begin().await?;
    match accounts::create_first(&mut tx, fields, &hash, &visit.audit_context(Actor::Anyone)).await {
        Ok(_) => db::commit(tx).await?,
        Err(AccountError::Database(error)) => return Err(error.into()),
        Err(_) => return Ok(false),
    }
    Ok(true)
}

fn page(form: &Form) -> Response {
    let frame = Frame::alone("Set up");
    form.shown(render(&Page { frame, form }))
}

fn over() -> Response {
    if let Some(left_out) = REFUSALS.admit(None) {
        tracing::warn!(
            left_out,
            "a link for the first account was rejected: it is invalid or expired"
        );
    }
    let frame = Frame::alone("Set up");
    (StatusCode::GONE, render(&Over { frame })).into_response()
}
