//! Commands on accounts: rules, changes and audit entries. The caller commits.

use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use super::{Account, AccountFields, PasswordHash, Role, TokenHash, account, session};
use crate::audit::{self, AuditContext};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has this username.
    #[error("That username is already taken.")]
    Taken,
    /// No active superuser would be left.
    #[error("This is the last active superuser: make another one first.")]
    LastSuperuser,
    /// The account does not exist.
    #[error("There is no such account.")]
    NotFound,
    /// The first account exists already.
    #[error("There are accounts already.")]
    NotFirst,
    /// A concurrent change conflicts with this one.
    #[error("This account was changed meanwhile.")]
    Conflict,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        if account::is_taken(&error) {
            Self::Taken
        } else {
            Self::Database(error)
        }
    }
}

/// Creates an account.
pub async fn create(
    tx: &mut PgConnection,
    fields: &AccountFields,
    password: &PasswordHash,
    audit_context: &AuditContext,
) -> Result<Account, AccountError> {
    let made = account::create(&mut *tx, fields, password).await?;
    record(tx, audit_context, "account.created", &made, (None, Some(&made))).await?;
    Ok(made)
}

/// Creates the first account, which is its own actor in the audit log.
pub async fn create_first(
    tx: &mut PgConnection,
    fields: &AccountFields,
    password: &PasswordHash,
    audit_context: &AuditContext,
) -> Result<Account, AccountError> {
    account::lock(&mut *tx).await?;
    if account::exist(&mut *tx).await? {
        return Err(AccountError::NotFirst);
    }
    let made = account::create(&mut *tx, fields, password).await?;
    let audit_context = AuditContext {
        actor: made.actor(),
        ..audit_context.clone()
    };
    record(tx, &audit_context, "account.created", &made, (None, Some(&made))).await?;
    Ok(made)
}

/// Changes an account. Deactivating it ends its sessions. `fields_of` returns the new fields for the locked account.
pub async fn change(
    tx: &mut PgConnection,
    id: i64,
    fields_of: impl FnOnce(&Account) -> Result<AccountFields, AccountError>,
    audit_context: &AuditContext,
) -> Result<Account, AccountError> {
    account::lock(&mut *tx).await?;
    let before = account::get(&mut *tx, id).await?.ok_or(AccountError::NotFound)?;
    let fields = fields_of(&before)?;
    if fields.role != Role::Superuser || !fields.is_active {
        keep_a_superuser(tx, &before).await?;
    }
    let after = account::update(&mut *tx, id, &fields).await?;
    let after = after.ok_or(AccountError::NotFound)?;
    if after != before {
        let change = (Some(&before), Some(&after));
        record(&mut *tx, audit_context, "account.changed", &after, change).await?;
    }
    if !after.is_active {
        session::end_all(tx, id, None).await?;
    }
    Ok(after)
}

/// Changes the password, and ends all sessions except `kept`.
pub async fn change_password(
    tx: &mut PgConnection,
    account: &Account,
    password: &PasswordHash,
    kept: Option<&TokenHash>,
    audit_context: &AuditContext,
) -> sqlx::Result<()> {
    account::set_password(&mut *tx, account.id, password).await?;
    session::end_all(&mut *tx, account.id, kept).await?;
    record(tx, audit_context, "password.changed", account, NOTHING).await
}

/// Deletes an account with its sessions. Its audit entries stay.
pub async fn delete(
    tx: &mut PgConnection,
    id: i64,
    audit_context: &AuditContext,
) -> Result<Account, AccountError> {
    account::lock(&mut *tx).await?;
    let before = account::get(&mut *tx, id).await?.ok_or(AccountError::NotFound)?;
    keep_a_superuser(tx, &before).await?;
    account::delete(&mut *tx, id).await?;
    record(
        tx,
        audit_context,
        "account.deleted",
        &before,
        (Some(&before), None),
    )
    .await?;
    Ok(before)
}

/// Fails if no other active superuser is left. The lock on accounts prevents concurrent changes.
async fn keep_a_superuser(tx: &mut PgConnection, account: &Account) -> Result<(), AccountError> {
    let is_one = account.role == Role::Superuser && account.is_active;
    if is_one && !account::is_dispensable(tx, account.id).await? {
        return Err(AccountError::LastSuperuser);
    }
    Ok(())
}

/// Ends all sessions of an account.
pub async fn log_out_everywhere(
    tx: &mut PgConnection,
    account: &Account,
    audit_context: &AuditContext,
) -> sqlx::Result<()> {
    session::end_all(&mut *tx, account.id, None).await?;
    record(tx, audit_context, "logout.everywhere", account, NOTHING).await
}

/// Ends a session of an account.
pub async fn end_session(
    tx: &mut PgConnection,
    account: &Account,
    token: &TokenHash,
    audit_context: &AuditContext,
) -> sqlx::Result<()> {
    if !session::end_of(&mut *tx, account.id, token).await? {
        return Ok(());
    }
    record(tx, audit_context, "session.ended", account, NOTHING).await
}

/// Adds an audit entry about an account.
pub(super) async fn record<T: Serialize + Sync>(
    db: impl PgExecutor<'_>,
    audit_context: &AuditContext,
    action: &'static str,
    account: &Account,
    change: (Option<&T>, Option<&T>),
) -> sqlx::Result<()> {
    audit::record(db, audit_context, action, account.subject(), change).await
}

/// An audit entry without a record before or after.
pub(super) const NOTHING: (Option<&()>, Option<&()>) = (None, None);
