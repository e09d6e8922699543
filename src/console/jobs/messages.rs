//! Dead letters: messages and jobs that have used up their attempts.

use std::collections::HashSet;

use sqlx::PgPool;

use super::queries;
use crate::{
    auth::Stores,
    console::{operator::Operator, query::Query},
    worker::dead_letters::{self, DeadLetter, DeadLetterId},
};

/// Orders of a dead letter that are listed.
const NAMED: usize = 3;

impl DeadLetter {
    /// What failed.
    pub(super) fn kind(&self) -> &str {
        match &self.id {
            DeadLetterId::Outbox(_) => "Confirmation",
            DeadLetterId::Delivery(_) => "Delivery",
            DeadLetterId::Job { queue, .. } => queue,
        }
    }

    /// The first orders.
    pub(super) fn named(&self) -> &[i64] {
        &self.orders[..self.orders.len().min(NAMED)]
    }

    /// The number of all other orders.
    pub(super) fn unnamed(&self) -> usize {
        self.orders.len().saturating_sub(NAMED)
    }

    /// The query that names it in links and forms.
    pub(super) fn query(&self) -> String {
        query(&self.id)
    }

    /// Whether it may be discarded. A confirmation may not: its orders need it.
    pub(super) fn may_be_discarded(&self) -> bool {
        !matches!(self.id, DeadLetterId::Outbox(_))
    }
}

/// The query that names a dead letter in links and forms.
pub fn query(letter: &DeadLetterId) -> String {
    Query::default().with("letter", letter)
}

/// The dead letters that an operator may see, latest first: those of PostgreSQL, and `jobs` from Redis. An operator who is bound
/// to stores sees dead letters about orders of these stores, and no other order in them.
pub async fn visible(
    db: &PgPool,
    operator: &Operator,
    jobs: Vec<DeadLetter>,
) -> sqlx::Result<Vec<DeadLetter>> {
    let mut letters = dead_letters::in_database(db).await?;
    letters.extend(jobs);
    if let Stores::Only(stores) = &operator.caller.grant.stores {
        let orders: Vec<i64> = letters
            .iter()
            .flat_map(|letter| letter.orders.iter().copied())
            .collect();
        let seen: HashSet<i64> = queries::of_stores(db, &orders, stores)
            .await?
            .into_iter()
            .collect();
        for letter in &mut letters {
            let all = letter.orders.len();
            letter.orders.retain(|order| seen.contains(order));
            if letter.orders.len() < all {
                // The error may have data of the other orders.
                "It is about orders of other stores too.".clone_into(&mut letter.error);
            }
        }
        letters.retain(|letter| !letter.orders.is_empty());
    }
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.since));
    Ok(letters)
}

/// What a dead letter is called, with the orders that the operator may see; `None` if the operator may not see it. An operator
/// who sees all stores may also name one that is gone.
pub async fn name(db: &PgPool, operator: &Operator, letter: &DeadLetterId) -> sqlx::Result<Option<String>> {
    let (channel, mut orders) = queries::about(db, letter).await?;
    if let Stores::Only(stores) = &operator.caller.grant.stores {
        orders = queries::of_stores(db, &orders, stores).await?;
        if orders.is_empty() {
            return Ok(None);
        }
    }
    let kind = channel.map_or("confirmation", |channel| channel_name(&channel));
    Ok(Some(match orders[..] {
        [] => format!("job {letter}"),
        [order] => format!("{kind} for order #{order}"),
        [first, ..] => format!("{kind} for order #{first} and {} more", orders.len() - 1),
    }))
}

/// What operators call a message of a channel.
pub fn channel_name(channel: &str) -> &'static str {
    match channel {
        "email" => "email",
        "webhook" => "webhook",
        _ => "message",
    }
}
