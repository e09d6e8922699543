//! The accounts of people.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;

use super::{Actor, Grant, PasswordHash, Role, Stores};

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Id of the account.
    pub id: i64,
    /// Username, case-sensitive.
    pub username: String,
    /// E-mail address; may be blank.
    pub email: String,
    /// Role.
    pub role: Role,
    /// Stores; `None` means all.
    pub stores: Option<Vec<i64>>,
    /// Whether the account can log in.
    pub is_active: bool,
    /// Time of the last login.
    #[serde(skip)]
    pub last_login_at: Option<DateTime<Utc>>,
    /// Time of creation.
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
}

impl Account {
    /// The grant of a logged-in user.
    pub fn grant(&self) -> Grant {
        Grant {
            actor: self.actor(),
            scopes: self.role.scopes(),
            stores: Stores::of_column(self.stores.clone()),
        }
    }

    /// The actor in the ledger and the audit log.
    pub fn actor(&self) -> Actor {
        Actor::Account {
            id: self.id,
            name: Arc::from(self.username.as_str()),
        }
    }

    /// The subject in the audit log.
    pub fn subject(&self) -> String {
        format!("account:{}", self.id)
    }
}

/// The editable fields of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFields {
    /// Username.
    pub username: String,
    /// E-mail address; may be blank.
    pub email: String,
    /// Role.
    pub role: Role,
    /// Stores; `None` means all.
    pub stores: Option<Vec<i64>>,
    /// Whether the account can log in.
    pub is_active: bool,
}

impl AccountFields {
    /// The invalid fields, with one sentence each.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let is_part = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if self.username.is_empty() {
            faults.push(("username", "An account needs a username."));
        } else if self.username.chars().count() > 150 {
            faults.push(("username", "A username has at most 150 characters."));
        } else if !self.username.chars().all(is_part) {
            let sentence = "A username has letters, digits and @ . + - _ only.";
            faults.push(("username", sentence));
        }
        if !self.email.is_empty() && !is_email(&self.email) {
            faults.push(("email", "This is no email address."));
        }
        match (&self.stores, self.role) {
            (Some(_), Role::Superuser) => faults.push((
                "stores",
                "A superuser looks after all stores: bind none, or choose another role.",
            )),
            (Some(stores), _) if stores.is_empty() => faults.push((
                "stores",
                "Choose the stores that the account is bound to, or let it see all of them.",
            )),
            _ => {}
        }
        faults
    }
}

/// Whether a text looks like an e-mail address.
fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

/// Selects accounts from `a`, which `$with` defines.
macro_rules! accounts {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query_as!(
            Account,
            "with a as (" + $with + r#")
             select a.id as "id!", a.username as "username!", a.email as "email!", a.role as "role!: Role", a.stores,
                 a.is_active as "is_active!", a.last_login_at, a.created_at as "created_at!"
             from a"# $(+ $tail)?
            $(, $arg)*
        )
    };
}

/// Finds an account by id.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Account>> {
    accounts!("select * from account where id = $1", id)
        .fetch_optional(db)
        .await
}

/// Finds an account by username.
pub async fn named(db: impl PgExecutor<'_>, username: &str) -> sqlx::Result<Option<Account>> {
    accounts!("select * from account where username = $1", username)
        .fetch_optional(db)
        .await
}

/// Finds the id and password hash of an account by username.
pub async fn password_of(
    db: impl PgExecutor<'_>,
    username: &str,
) -> sqlx::Result<Option<(i64, PasswordHash)>> {
    let found = sqlx::query!(
        "select id, password_hash from account where username = $1",
        username
    );
    let found = found.fetch_optional(db).await?;
    Ok(found.map(|found| (found.id, PasswordHash::of_column(found.password_hash))))
}

/// A filter of the list of accounts. All given conditions apply.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the username or e-mail address.
    pub text: Option<String>,
    /// Role.
    pub role: Option<Role>,
    /// Whether the account can log in.
    pub is_active: Option<bool>,
}

/// Accounts sorted by a column, the page that begins after `offset`: one more than `limit`, if there are more.
///
/// The columns are `username`, `role`, `last_login` and `created`.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    (column, downwards): (&str, bool),
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Account>> {
    let column = if downwards {
        format!("-{column}")
    } else {
        column.to_owned()
    };
    accounts!(
        "select * from account where ($4::text is null or search_fold(username) like search_pattern($4)
                 or search_fold(email) like search_pattern($4))
             and ($5::text is null or role = $5) and ($6::boolean is null or is_active = $6)"
            + r#" order by
                case $1 when 'username' then a.username when 'role' then a.role end,
                case $1 when '-username' then a.username when '-role' then a.role end desc,
                case $1 when 'last_login' then a.last_login_at when 'created' then a.created_at end,
                case $1 when '-last_login' then a.last_login_at when '-created' then a.created_at end desc nulls last,
                a.username
            limit $2 offset $3"#,
        column,
        limit,
        offset,
        filter.text,
        filter.role.map(Role::as_str),
        filter.is_active
    )
    .fetch_all(db)
    .await
}

/// The number of accounts that match a filter.
pub async fn count(db: impl PgExecutor<'_>, filter: &Filter) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from account
           where ($1::text is null or search_fold(username) like search_pattern($1)
                 or search_fold(email) like search_pattern($1))
             and ($2::text is null or role = $2) and ($3::boolean is null or is_active = $3)"#,
        filter.text,
        filter.role.map(Role::as_str),
        filter.is_active
    )
    .fetch_one(db)
    .await
}

/// Whether any account exists.
pub async fn exist(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from account) as "exist!""#)
        .fetch_one(db)
        .await
}

/// Locks the table against changes until the end of the transaction, so that checks of all accounts stay valid.
pub async fn lock(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("lock table account in share row exclusive mode")
        .execute(db)
        .await
        .map(drop)
}

/// Whether another active superuser exists.
pub async fn is_dispensable(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    let others = sqlx::query_scalar!(
        r#"select exists (select from account where role = 'superuser' and is_active and id <> $1) as "others!""#,
        id
    );
    others.fetch_one(db).await
}

/// Whether an error says that the username is taken.
pub fn is_taken(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.constraint() == Some("account_username_key"))
}

/// Creates an account. On an error, [`is_taken`] says whether the username is taken.
pub async fn create(
    db: impl PgExecutor<'_>,
    fields: &AccountFields,
    password: &PasswordHash,
) -> sqlx::Result<Account> {
    accounts!(
        "insert into account (username, email, password_hash, role, stores, is_active)
         values ($1, $2, $3, $4, $5, $6) returning *",
        fields.username,
        fields.email,
        password.as_str(),
        fields.role.as_str(),
        fields.stores.as_deref(),
        fields.is_active
    )
    .fetch_one(db)
    .await
}

/// Changes an account. Logged-in users get the new permissions with their next request. On an error, [`is_taken`] says
/// whether the username is taken.
pub async fn update(
    db: impl PgExecutor<'_>,
    id: i64,
    fields: &AccountFields,
) -> sqlx::Result<Option<Account>> {
    accounts!(
        "update account set username = $2, email = $3, role = $4, stores = $5, is_active = $6, updated_at = now()
         where id = $1 returning *",
        id,
        fields.username,
        fields.email,
        fields.role.as_str(),
        fields.stores.as_deref(),
        fields.is_active
    )
    .fetch_optional(db)
    .await
}

/// Changes the password. The caller ends the sessions of the account in the same transaction.
pub async fn set_password(db: impl PgExecutor<'_>, id: i64, password: &PasswordHash) -> sqlx::Result<()> {
    sqlx::query!(
        "update account set password_hash = $2, updated_at = now() where id = $1",
        id,
        password.as_str()
    )
    .execute(db)
    .await
    .map(drop)
}

/// Deletes an account with its sessions.
pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!("delete from account where id = $1", id)
        .execute(db)
        .await
        .map(drop)
}

/// Records a login and returns the account; `None` if it is inactive or its password has changed.
pub async fn note_login(
    db: impl PgExecutor<'_>,
    id: i64,
    password: &PasswordHash,
) -> sqlx::Result<Option<Account>> {
    accounts!(
        "update account set last_login_at = now() where id = $1 and is_active and password_hash = $2 returning *",
        id,
        password.as_str()
    )
    .fetch_optional(db)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut AccountFields)) -> Vec<&'static str> {
        let mut fields = AccountFields {
            username: "ada".into(),
            email: String::new(),
            role: Role::Staff,
            stores: None,
            is_active: true,
        };
        change(&mut fields);
        fields.faults().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn invalid_fields_are_reported_by_name() {
        assert_eq!(faults(|_| ()), <[&str; 0]>::default());
        assert_eq!(faults(|fields| fields.email = "a@b".into()).len(), 0);
        assert_eq!(
            faults(|fields| fields.username = "Zoë@shop.example+1-2_3".into()).len(),
            0
        );
        for name in [
            String::new(),
            "a b".into(),
            "a/b".into(),
            "a\n".into(),
            "x".repeat(151),
        ] {
            assert_eq!(faults(|fields| fields.username = name), ["username"]);
        }
        for email in ["a", "@b", "a@", "a b@c", "a@b\n"] {
            assert_eq!(faults(|fields| fields.email = email.into()), ["email"]);
        }
        assert_eq!(faults(|fields| fields.stores = Some(vec![])), ["stores"]);
        assert_eq!(faults(|fields| fields.stores = Some(vec![1])).len(), 0);
        let bound =
            |fields: &mut AccountFields| (fields.role, fields.stores) = (Role::Superuser, Some(vec![1]));
        assert_eq!(faults(bound), ["stores"]);
    }
}
