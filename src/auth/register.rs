//! What is done to accounts, by which rules, and what is written down of it. The caller commits.

use sqlx::PgConnection;

use super::{Account, AccountFields, PasswordHash, Role, TokenHash, account, session};
use crate::audit::{self, AuditContext};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// There is an account of that name.
    #[error("That username is already taken.")]
    Taken,
    /// Nobody could look after accounts any more.
    #[error("This is the last active superuser: make another one first.")]
    LastSuperuser,
    /// There is no such account.
    #[error("There is no such account.")]
    Gone,
    /// There are accounts already, so none is the first.
    #[error("There are accounts already.")]
    NotFirst,
    /// Somebody else has changed the same meanwhile.
    #[error("This account was changed meanwhile.")]
    Conflict,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for NotDone {
    fn from(error: sqlx::Error) -> Self {
        if account::is_taken(&error) {
            Self::Taken
        } else {
            Self::Database(error)
        }
    }
}

/// Makes an account.
pub async fn create(
    tx: &mut PgConnection,
    fields: &AccountFields,
    password: &PasswordHash,
    audit_context: &AuditContext,
) -> Result<Account, NotDone> {
    let made = account::create(&mut *tx, fields, password).await?;
    let change = (None, Some(&made));
    audit::record(tx, audit_context, "account.created", Some(made.subject()), change).await?;
    Ok(made)
}

/// Makes the first account, which signs for itself.
pub async fn create_first(
    tx: &mut PgConnection,
    fields: &AccountFields,
    password: &PasswordHash,
    audit_context: &AuditContext,
) -> Result<Account, NotDone> {
    account::lock(&mut *tx).await?;
    if account::exist(&mut *tx).await? {
        return Err(NotDone::NotFirst);
    }
    let made = account::create(&mut *tx, fields, password).await?;
    let audit_context = AuditContext {
        actor: made.actor(),
        ..audit_context.clone()
    };
    let change = (None, Some(&made));
    audit::record(
        tx,
        &audit_context,
        "account.created",
        Some(made.subject()),
        change,
    )
    .await?;
    Ok(made)
}

/// Changes an account. One that is not active any more has no sessions either. `fields_of` makes the fields to write of the
/// account as it is under the lock.
pub async fn change(
    tx: &mut PgConnection,
    id: i64,
    fields_of: impl FnOnce(&Account) -> Result<AccountFields, NotDone>,
    audit_context: &AuditContext,
) -> Result<Account, NotDone> {
    account::lock(&mut *tx).await?;
    let before = account::get(&mut *tx, id).await?.ok_or(NotDone::Gone)?;
    let fields = fields_of(&before)?;
    if fields.role != Role::Superuser || !fields.is_active {
        keep_a_superuser(tx, &before).await?;
    }
    let after = account::update(&mut *tx, id, &fields).await?;
    let after = after.ok_or(NotDone::Gone)?;
    if after != before {
        let change = (Some(&before), Some(&after));
        audit::record(
            &mut *tx,
            audit_context,
            "account.changed",
            Some(after.subject()),
            change,
        )
        .await?;
    }
    if !after.is_active {
        session::end_all(tx, id, None).await?;
    }
    Ok(after)
}

/// Gives an account another password, and ends its sessions, but for the one from which that is done.
pub async fn change_password(
    tx: &mut PgConnection,
    account: &Account,
    password: &PasswordHash,
    kept: Option<&TokenHash>,
    audit_context: &AuditContext,
) -> sqlx::Result<()> {
    account::set_password(&mut *tx, account.id, password).await?;
    session::end_all(&mut *tx, account.id, kept).await?;
    let subject = Some(account.subject());
    audit::record(tx, audit_context, "password.changed", subject, NOTHING).await
}

/// Deletes an account, with its sessions. What it has done stays written down under its name.
pub async fn delete(
    tx: &mut PgConnection,
    id: i64,
    audit_context: &AuditContext,
) -> Result<Account, NotDone> {
    account::lock(&mut *tx).await?;
    let before = account::get(&mut *tx, id).await?.ok_or(NotDone::Gone)?;
    keep_a_superuser(tx, &before).await?;
    account::delete(&mut *tx, id).await?;
    let change = (Some(&before), None);
    audit::record(
        tx,
        audit_context,
        "account.deleted",
        Some(before.subject()),
        change,
    )
    .await?;
    Ok(before)
}

/// Refuses to lose the last one who can look after accounts. Accounts are locked, so none goes at the same time.
async fn keep_a_superuser(tx: &mut PgConnection, account: &Account) -> Result<(), NotDone> {
    let is_one = account.role == Role::Superuser && account.is_active;
    if is_one && !account::is_dispensable(tx, account.id).await? {
        return Err(NotDone::LastSuperuser);
    }
    Ok(())
}

/// Ends all sessions of an account, this one included.
pub async fn log_out_everywhere(
    tx: &mut PgConnection,
    account: &Account,
    audit_context: &AuditContext,
) -> sqlx::Result<()> {
    session::end_all(&mut *tx, account.id, None).await?;
    let subject = Some(account.subject());
    audit::record(tx, audit_context, "logout.everywhere", subject, NOTHING).await
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
    let subject = Some(account.subject());
    audit::record(tx, audit_context, "session.ended", subject, NOTHING).await
}

/// There is nothing to tell but that it was done.
pub(super) const NOTHING: (Option<&()>, Option<&()>) = (None, None);
