//! Who placed the orders of a slice, column by column, for ledger and audit log.

use std::sync::Arc;

use crate::audit::AuditContext;

/// The signatures of a slice of orders.
#[derive(Default)]
pub(super) struct AuditColumns {
    /// One for each order, and so on.
    pub actor: Vec<Option<String>>,
    pub actor_name: Vec<Option<String>>,
    pub address: Vec<Option<String>>,
    pub request_id: Vec<Option<String>>,
    /// The actor of each item's order.
    pub of_items: Vec<Option<String>>,
}

impl AuditColumns {
    /// Adds an order with so many items.
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

    /// The columns to be written: empty ones, which cost nothing, where nobody signed, as while the API is open.
    pub fn columns(self) -> Self {
        let is_signed = self.actor.iter().any(Option::is_some);
        if is_signed { self } else { Self::default() }
    }
}
