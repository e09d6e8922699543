//! Answers that go on for long: how many there may be, and whether whoever gets one may still have it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::PgPool;

use super::{operator::Operator, session::Visitor};
use crate::auth::{Grant, TokenHash, session};

/// How many may go on at a time. Clones count together.
#[derive(Clone, Debug)]
pub struct Places {
    in_all: usize,
    of_account: usize,
    taken: Arc<Mutex<HashMap<i64, usize>>>,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    account: i64,
}

impl Places {
    /// So many in all, and so many of one account.
    #[must_use]
    pub fn new(in_all: usize, of_account: usize) -> Self {
        Self {
            in_all,
            of_account,
            taken: Arc::default(),
        }
    }

    /// A place, if there is one for this account.
    #[must_use]
    pub fn take(&self, account: i64) -> Option<Place> {
        let mut taken = self.lock();
        let in_all: usize = taken.values().sum();
        let own = taken.get(&account).copied().unwrap_or(0);
        if in_all >= self.in_all || own >= self.of_account {
            return None;
        }
        taken.insert(account, own + 1);
        Some(Place {
            places: self.clone(),
            account,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

/// An operator's leave to have what was granted when the answer began.
#[derive(Debug)]
pub struct Leave {
    db: PgPool,
    session: Option<TokenHash>,
    grant: Arc<Grant>,
}

impl Leave {
    /// Of whoever asked.
    #[must_use]
    pub fn of(db: PgPool, Visitor(visitor): Visitor, operator: &Operator) -> Self {
        Self {
            db,
            session: visitor.token,
            grant: operator.caller.grant.clone(),
        }
    }

    /// Whether the session goes on, with the same grant.
    pub async fn holds(&self) -> sqlx::Result<bool> {
        let Some(session) = &self.session else {
            return Ok(false);
        };
        let account = session::account_of(&self.db, session).await?;
        Ok(account.is_some_and(|(account, _)| account.grant() == *self.grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_of_each_account_and_given_back() {
        let places = Places::new(3, 2);
        let [one, two] = [1, 1].map(|account| places.take(account).unwrap());
        assert!(places.take(1).is_none());
        let three = places.take(2).unwrap();
        assert!(places.take(3).is_none());
        drop((one, three));
        assert!(places.take(3).is_some());
        drop(two);
        assert!(places.lock().is_empty());
    }
}
