//! `/admin/access/`: the accounts, for superusers.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};

use sqlx::PgPool;

use super::{
    SECTION, Superuser,
    stores::{self, Offer},
};
use crate::{
    auth::{
        Account, AccountFields, Role,
        account::{self, Filter},
        accounts::{self, AccountError},
        password,
    },
    console::{
        audit::{self, Entry},
        confirm::Confirm,
        edit::{self, Edit, Field},
        error::ConsoleError,
        flash::redirect_with_flash,
        form::Form,
        format::Moment,
        new_password,
        page::{Frame, Id, render},
        query::{PAGE_SIZE, Pager, Query},
        state::Console,
    },
    db::{self, ReadPool},
    http::{Precondition, Reads},
};

/// The fields that the form changes. The stores come from several fields of the form.
const FIELDS: &[Field] = &[
    Field::text("username", "Username", "/username", 150),
    Field::text("email", "Email", "/email", 254),
    Field::text("role", "Role", "/role", 20),
    Field::ids("stores", "Stores", "/stores"),
    Field::checkbox("active", "Active", "/is_active"),
];

#[derive(Template)]
#[template(path = "accounts.html")]
struct List {
    frame: Frame,
    query: Query,
    rows: Vec<Row>,
    pager: Pager,
    me: i64,
}

/// An account as it is listed.
struct Row {
    stores: String,
    last_login_at: Option<Moment>,
    created_at: Moment,
    account: Account,
}

#[derive(Template)]
#[template(path = "account_form.html")]
struct Page<'a> {
    frame: Frame,
    form: &'a Form,
    offer: Offer,
    /// `None` in the form of a new account.
    account: Option<&'a Account>,
    is_own: bool,
    /// Its latest audit entries.
    entries: Vec<Entry>,
}

pub fn router() -> Router<Console> {
    Router::new()
        .route("/admin/access/", get(list))
        .route("/admin/access/accounts/new/", get(blank).post(create))
        .route("/admin/access/accounts/{id}/", get(show).post(change))
        .route("/admin/access/accounts/{id}/delete/", get(ask).post(delete))
}

async fn list(Reads(db): Reads, me: Superuser, mut query: Query) -> Result<Response, ConsoleError> {
    let sorted = query.sort(&["username", "role", "last_login", "created"]);
    let filter = Filter {
        text: query.get("q").map(str::to_owned),
        role: query.read("role", "choose one that is offered", |text| text.parse().ok()),
        is_active: query.read_activity(),
    };
    let accounts = account::list(&db, &filter, sorted, PAGE_SIZE + 1, query.offset());
    let mut accounts = query.rows(accounts).await?;
    let count = query.rows(account::count(&db, &filter)).await?;
    let pager = query.pager(&mut accounts, Some(count));
    let bound = stores::words(&db, accounts.iter().map(|account| account.stores.as_deref())).await?;
    let rows = accounts.into_iter().zip(bound).map(|(account, stores)| Row {
        stores,
        last_login_at: account.last_login_at.map(Moment::from),
        created_at: account.created_at.into(),
        account,
    });
    Ok(render(&List {
        frame: me.frame("Accounts"),
        rows: rows.collect(),
        pager,
        me: me.0.account_id,
        query,
    }))
}

async fn blank(Reads(db): Reads, me: Superuser) -> Result<Response, ConsoleError> {
    let form = Form::of([
        ("role", "viewer".into()),
        ("bound", "all".into()),
        ("active", "on".into()),
    ]);
    page(&db, &me, &form, None).await
}

async fn create(
    Reads(db): Reads,
    State(pool): State<PgPool>,
    me: Superuser,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let fields = read(&db, &mut form).await?;
    new_password::check(&mut form, &fields.username, &fields.email);
    if form.is_good() {
        let hash = password::hash(&new_password::of(&form)).await?;
        let mut tx = pool.begin().await?;
        match accounts::create(&mut tx, &fields, &hash, &me.0.caller.audit_context()).await {
            Ok(_) => {
                db::commit(tx).await?;
                return Ok(redirect_with_flash(
                    SECTION,
                    format!("Account {} created.", fields.username),
                ));
            }
            Err(why) => refuse(&mut form, why)?,
        }
    }
    page(&db, &me, &form, None).await
}

async fn show(Reads(db): Reads, me: Superuser, Id(id): Id) -> Result<Response, ConsoleError> {
    let account = account::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    let form = edit::form_of(&account, FIELDS);
    let form = stores::fill(form, account.stores.as_deref());
    page(&db, &me, &form, Some(&account)).await
}

async fn change(
    Reads(db): Reads,
    State(pool): State<PgPool>,
    me: Superuser,
    Id(id): Id,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let account = account::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    stores::resolve(&mut form);
    let fields = read(&db, &mut form).await?;
    form.set("stores", stores::text(fields.stores.as_deref()));
    let is_own = id == me.0.account_id;
    let gives_up = fields.role != Role::Superuser || !fields.is_active;
    if is_own && gives_up && !form.is_checked("sure") {
        form.add_error("sure", "This is your own account: you will lose access.");
    }
    let renews = !form.text("password").is_empty() || !form.text("again").is_empty();
    if renews && is_own {
        // The page of the own account asks for the current password, so an unattended session is not enough.
        form.add_error(
            "password",
            "Change your own password on the page of your account.",
        );
    } else if renews {
        new_password::check(&mut form, &fields.username, &fields.email);
    }
    if form.is_good() {
        let hash = if renews {
            Some(password::hash(&new_password::of(&form)).await?)
        } else {
            None
        };
        let audit_context = me.0.caller.audit_context();
        let mut tx = pool.begin().await?;
        let edit = Edit::new(&mut form, FIELDS);
        let fields_of = |before: &Account| edited(&edit, &fields, before);
        let changed = accounts::change(&mut tx, id, fields_of, &audit_context).await;
        match changed {
            Ok(account) => {
                if let Some(hash) = hash {
                    accounts::change_password(&mut tx, &account, &hash, None, &audit_context).await?;
                }
                db::commit(tx).await?;
                return Ok(redirect_with_flash(
                    SECTION,
                    format!("Account {} saved.", account.username),
                ));
            }
            Err(AccountError::Conflict) => {
                drop(tx);
                return conflict(&db, &me, id, form).await;
            }
            Err(why) => refuse(&mut form, why)?,
        }
    }
    page(&db, &me, &form, Some(&account)).await
}

/// The fields of an account, with the typed values of changed ones.
fn edited(edit: &Edit<'_>, typed: &AccountFields, before: &Account) -> Result<AccountFields, AccountError> {
    if !edit.permits(before) {
        return Err(AccountError::Conflict);
    }
    let fields = AccountFields {
        username: pick(edit.is_changed("username"), &typed.username, &before.username),
        email: pick(edit.is_changed("email"), &typed.email, &before.email),
        role: pick(edit.is_changed("role"), &typed.role, &before.role),
        stores: pick(edit.is_changed("stores"), &typed.stores, &before.stores),
        is_active: pick(edit.is_changed("active"), &typed.is_active, &before.is_active),
    };
    // A valid change may be invalid together with the change of another operator.
    if fields.faults().is_empty() {
        Ok(fields)
    } else {
        Err(AccountError::Conflict)
    }
}

fn pick<T: Clone>(is_changed: bool, typed: &T, before: &T) -> T {
    if is_changed { typed } else { before }.clone()
}

async fn conflict(db: &ReadPool, me: &Superuser, id: i64, form: Form) -> Result<Response, ConsoleError> {
    let account = account::get(db, id).await?.ok_or(ConsoleError::NotFound)?;
    let mut conflicts = Vec::new();
    for (field, now) in edit::conflicts(&form, (&account, FIELDS)) {
        let mut shown = [now.clone(), field.typed(&form)];
        for value in &mut shown {
            *value = if field.name == "stores" {
                stores::named(db, value).await?
            } else {
                edit::plain(field, std::mem::take(value))
            };
        }
        conflicts.push((field, now, shown.into()));
    }
    let page = (me.frame(account.username.clone()), SECTION.to_owned());
    edit::conflict_page(db, page, &account.subject(), conflicts, form).await
}

async fn ask(Reads(db): Reads, me: Superuser, Id(id): Id) -> Result<Response, ConsoleError> {
    let account = account::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    Ok(question(&me, &account, Form::of([])).into_response())
}

async fn delete(
    Reads(db): Reads,
    State(pool): State<PgPool>,
    me: Superuser,
    Id(id): Id,
    mut form: Form,
) -> Result<Response, ConsoleError> {
    let account = account::get(&db, id).await?.ok_or(ConsoleError::NotFound)?;
    let mut tx = pool.begin().await?;
    match accounts::delete(&mut tx, id, &me.0.caller.audit_context()).await {
        Ok(_) => {
            db::commit(tx).await?;
            Ok(redirect_with_flash(
                SECTION,
                format!("Account {} deleted.", account.username),
            ))
        }
        Err(why) => {
            refuse(&mut form, why)?;
            Ok(question(&me, &account, form).into_response())
        }
    }
}

fn question(me: &Superuser, account: &Account, form: Form) -> Confirm {
    let mut effects = vec![
        "Also ends its sessions. Its entries in the stock history and the audit log are kept.".to_owned(),
        "A deactivated account can be reactivated; a deleted one cannot be restored.".to_owned(),
    ];
    if account.id == me.0.account_id {
        effects.insert(0, "This is your own account: you will lose access.".to_owned());
    }
    let path = format!("/admin/access/accounts/{}/", account.id);
    Confirm {
        frame: me.frame(format!("Delete account {}?", account.username)),
        effects,
        obstacle: String::new(),
        action: format!("{path}delete/"),
        yes: "Delete account",
        back: path,
        instead: None,
        form,
    }
}

/// Reads an account from the form, and adds the errors of its fields.
async fn read(db: &ReadPool, form: &mut Form) -> Result<AccountFields, ConsoleError> {
    let role = form.text("role").parse::<Role>();
    if let Err(error) = role {
        form.add_error("role", format!("{error}."));
    }
    let fields = AccountFields {
        username: form.text("username").trim().to_owned(),
        email: form.text("email").trim().to_owned(),
        role: role.unwrap_or(Role::Viewer),
        stores: stores::read(db, form).await?,
        is_active: form.is_checked("active"),
    };
    for (field, sentence) in fields.faults() {
        form.add_error(field, sentence);
    }
    Ok(fields)
}

/// Adds the reason of a refusal to the form.
fn refuse(form: &mut Form, why: AccountError) -> Result<(), ConsoleError> {
    match why {
        AccountError::Database(error) => return Err(error.into()),
        AccountError::NotFound => return Err(ConsoleError::NotFound),
        AccountError::Taken => form.add_error("username", why.to_string()),
        AccountError::LastSuperuser | AccountError::NotFirst | AccountError::Conflict => {
            form.add_error("", why.to_string());
        }
    }
    Ok(())
}

async fn page(
    db: &ReadPool,
    me: &Superuser,
    form: &Form,
    account: Option<&Account>,
) -> Result<Response, ConsoleError> {
    let entries = match account {
        Some(account) => audit::latest(db, &me.0, &account.subject()).await?,
        None => Vec::new(),
    };
    let title = account.map_or_else(|| "New account".to_owned(), |account| account.username.clone());
    let page = Page {
        frame: me.frame(title),
        form,
        offer: stores::offer(db, form).await?,
        account,
        is_own: account.is_some_and(|account| account.id == me.0.account_id),
        entries,
    };
    Ok(form.shown(render(&page)))
}
