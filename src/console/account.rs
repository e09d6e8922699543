//! `/admin/account/`: the operator's own account, its password and its sessions.

use askama::Template;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::SignedCookieJar;
use secrecy::SecretString;

use sqlx::PgPool;

use super::{
    access::stores,
    confirm::Confirm,
    error::ConsoleError,
    flash::redirect_with_flash,
    form::Form,
    format::Moment,
    login::too_often,
    new_password,
    operator::Operator,
    page::{Frame, render},
    session::{Current, SessionCookie, Visitor},
    state::Console,
};
use crate::{
    auth::{
        Account, ClientInfo, TokenHash, accounts,
        login::Proof,
        password,
        session::{self as sessions, Session},
    },
    db,
    db::ReadPool,
    http::Reads,
};

const PATH: &str = "/admin/account/";

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    frame: Frame,
    account: &'a Account,
    stores: Vec<String>,
    sessions: Vec<Row>,
    form: &'a Form,
}

/// A session as it is listed.
struct Row {
    name: String,
    browser: String,
    user_agent: String,
    address: String,
    created_at: Moment,
    last_seen_at: Moment,
    is_this: bool,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/account/", get(show))
        .route("/admin/account/password/", post(change_password))
        .route("/admin/account/sessions/", post(end_session))
        .route(
            "/admin/account/everywhere/",
            get(ask_everywhere).post(log_out_everywhere),
        )
}

async fn show(
    Reads(db): Reads,
    operator: Operator,
    Current(account): Current,
    Visitor(visit): Visitor,
) -> Result<Response, ConsoleError> {
    let frame = Frame::new(&operator, PATH, "Your account");
    page(&db, frame, &account, &visit, &Form::of([])).await
}

async fn page(
    db: &ReadPool,
    frame: Frame,
    account: &Account,
    visit: &ClientInfo,
    form: &Form,
) -> Result<Response, ConsoleError> {
    let sessions = sessions::list(db, account.id).await?;
    Ok(render(&Page {
        frame,
        account,
        stores: stores::names(db, account.stores.as_deref()).await?,
        sessions: sessions
            .into_iter()
            .map(|session| Row::of(session, visit))
            .collect(),
        form,
    }))
}

async fn change_password(
    State(console): State<Console>,
    operator: Operator,
    Current(account): Current,
    Visitor(visit): Visitor,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let database = &console.app.database;
    new_password::check(&mut form, &account.username, &account.email);
    let mut status = StatusCode::BAD_REQUEST;
    if form.is_good() {
        let current = SecretString::from(form.text("current"));
        match console.logins.prove(&account, current, &visit).await? {
            Proof::Right => {
                let hash = password::hash(&new_password::of(&form)).await?;
                let (mut tx, audit_context) = (database.pool.begin().await?, operator.caller.audit_context());
                let kept = visit.token.as_ref();
                accounts::change_password(&mut tx, &account, &hash, kept, &audit_context).await?;
                db::commit(tx).await?;
                return Ok(redirect_with_flash(
                    PATH,
                    "Your password was changed. All your other sessions have ended.",
                ));
            }
            Proof::Wrong => form.add_error("current", "This is not your password."),
            Proof::TooOften(seconds) => {
                status = StatusCode::TOO_MANY_REQUESTS;
                form.add_error("current", too_often(seconds));
            }
        }
    }
    let frame = Frame::new(&operator, PATH, "Your account");
    Ok((
        status,
        page(&database.reads, frame, &account, &visit, &form).await?,
    )
        .into_response())
}

async fn end_session(
    State(pool): State<PgPool>,
    Current(account): Current,
    operator: Operator,
    form: Form,
) -> Result<Response, ConsoleError> {
    let session = TokenHash::of_text(form.text("session")).ok_or(ConsoleError::NotFound)?;
    let mut tx = pool.begin().await?;
    accounts::end_session(&mut tx, &account, &session, &operator.caller.audit_context()).await?;
    db::commit(tx).await?;
    Ok(redirect_with_flash(PATH, "The session was ended."))
}

async fn ask_everywhere(operator: Operator) -> Confirm {
    Confirm {
        frame: Frame::new(&operator, PATH, "Log out everywhere?"),
        effects: vec!["Ends all your sessions, including this one.".to_owned()],
        obstacle: String::new(),
        action: format!("{PATH}everywhere/"),
        yes: "Log out everywhere",
        back: PATH.to_owned(),
        instead: None,
        form: Form::of([]),
    }
}

async fn log_out_everywhere(
    State(console): State<Console>,
    Current(account): Current,
    operator: Operator,
    cookie: SessionCookie,
    jar: SignedCookieJar,
) -> Result<Response, ConsoleError> {
    let mut tx = console.app.database.pool.begin().await?;
    accounts::log_out_everywhere(&mut tx, &account, &operator.caller.audit_context()).await?;
    db::commit(tx).await?;
    Ok((cookie.take(jar), Redirect::to("/admin/login/")).into_response())
}

impl Row {
    fn of(session: Session, visit: &ClientInfo) -> Self {
        Self {
            name: session.token_hash.to_string(),
            browser: browser(&session.user_agent),
            user_agent: session.user_agent,
            address: session.address,
            created_at: session.created_at.into(),
            last_seen_at: session.last_seen_at.into(),
            is_this: visit.token.as_ref() == Some(&session.token_hash),
        }
    }
}

/// The browser and system of a user agent, for operators.
fn browser(user_agent: &str) -> String {
    let known = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(mark, _)| user_agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    // Each user agent also contains the names that follow it here.
    let program = known(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = known(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        _ if user_agent.is_empty() => "Unknown".to_owned(),
        _ => user_agent.chars().take(40).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agent_is_shown_as_browser_and_system() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0";
        assert_eq!(browser(edge), "Edge on Windows");
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(browser(phone), "Safari on iPhone");
        assert_eq!(browser("curl/8.0"), "curl/8.0");
        assert_eq!(browser(""), "Unknown");
    }
}
