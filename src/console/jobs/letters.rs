//! Dead letters, as an operator sees them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::queries;
use crate::{
    auth::Stores,
    console::{operator::Operator, query::Query},
    worker::dead_letters::{self, DeadLetter, DeadLetterId},
};

/// Orders of a letter that are named.
const NAMED: usize = 3;

/// A dead letter.
#[derive(Debug)]
pub struct Letter {
    pub id: DeadLetterId,
    pub orders: Vec<i64>,
    pub attempts: i64,
    pub error: String,
    pub since: DateTime<Utc>,
}

impl Letter {
    /// What it was for.
    pub fn kind(&self) -> &str {
        match &self.id {
            DeadLetterId::Outbox(_) => "Confirmation",
            DeadLetterId::Delivery(_) => "Delivery",
            DeadLetterId::Job { queue, .. } => queue,
        }
    }

    /// The first of its orders.
    pub fn named(&self) -> &[i64] {
        &self.orders[..self.orders.len().min(NAMED)]
    }

    /// How many more there are.
    pub fn unnamed(&self) -> usize {
        self.orders.len().saturating_sub(NAMED)
    }

    /// How forms and links name it.
    pub fn query(&self) -> String {
        query(&self.id)
    }

    /// Whether it may be dropped: confirmations are owed, and stay.
    pub fn may_go(&self) -> bool {
        !matches!(self.id, DeadLetterId::Outbox(_))
    }
}

/// How forms and links name a letter.
pub fn query(letter: &DeadLetterId) -> String {
    Query::default().with("letter", letter)
}

/// The letters that an operator may see, the latest first: what PostgreSQL has, and `jobs` from Redis. Who is bound to stores
/// sees those about orders of these, and no other order in them.
pub async fn visible(db: &PgPool, operator: &Operator, jobs: Vec<DeadLetter>) -> sqlx::Result<Vec<Letter>> {
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
                // It may tell of the others.
                "It is about orders of other stores too.".clone_into(&mut letter.error);
            }
        }
        letters.retain(|letter| !letter.orders.is_empty());
    }
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.since));
    let letter = |letter: DeadLetter| Letter {
        id: letter.id,
        orders: letter.orders,
        attempts: letter.attempts,
        error: letter.error,
        since: letter.since,
    };
    Ok(letters.into_iter().map(letter).collect())
}

/// Whether an operator may see a letter. One that is not there is seen by who sees all: that it is gone is no secret.
pub async fn is_visible(db: &PgPool, operator: &Operator, letter: &DeadLetterId) -> sqlx::Result<bool> {
    let Stores::Only(stores) = &operator.caller.grant.stores else {
        return Ok(true);
    };
    let orders = queries::orders_of(db, letter).await?;
    Ok(!queries::of_stores(db, &orders, stores).await?.is_empty())
}
