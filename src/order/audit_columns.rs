//! The actors of a batch of orders, column by column, for ledger and audit log.

use std::sync::Arc;

use crate::audit::AuditContext;

/// The audit contexts of a batch of orders.
#[derive(Default)]
pub(super) struct AuditColumns {
    /// One entry for each order; the same holds for the next three.
    pub actor: Vec<Option<String>>,
    pub actor_name: Vec<Option<String>>,
    pub address: Vec<Option<String>>,
    pub request_id: Vec<Option<String>>,
    /// The actor of each item's order.
    pub of_items: Vec<Option<String>>,
}

impl AuditColumns {
    /// Adds an order with this number of items.
    pub fn push(&mut self, by: Option<&Arc<AuditContext>>, items: usize) {
        let actor = by.and_then(|by| by.actor.label());
        self.of_items.extend(std::iter::repeat_n(actor.clone(), items));
        self.actor.push(actor);
        self.actor_name
            .push(by.and_then(|by| by.actor.name()).map(str::to_owned));
        self.address
            .push(by.and_then(|by| by.address).map(|address| address.to_string()));
        self.request_id.push(by.and_then(|by| by.request_id.clone()));
    }

    /// The columns to write. They are empty, and cost nothing, if no order has a known actor, as while the API is open.
    pub fn columns(self) -> Self {
        let has_actor = self.actor.iter().any(Option::is_some);
        if has_actor { self } else { Self::default() }
    }
}
