//! What is said of a confirmed order: as a letter to people, as a notice to programs.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    delivery::{Letter, one_line},
    order::Order,
    timestamp::Timestamp,
};

/// The letter to people.
pub(super) fn letter(order: &Order, confirmed_at: DateTime<Utc>) -> Letter {
    let store = one_line(&order.store.name);
    let mut text = format!(
        "Order {} at {store} is confirmed.\n\nPlaced: {}\n\n",
        order.id, order.created_at
    );
    for item in &order.items {
        // Writing to a text never fails.
        let _ = writeln!(
            text,
            "{} x {}, {} each: {}",
            item.quantity,
            one_line(&item.title_at_order),
            item.unit_price,
            item.subtotal
        );
    }
    let _ = writeln!(text, "\nTotal: {}", order.total_amount);
    Letter {
        subject: format!("Order {} confirmed: {} at {store}", order.id, order.total_amount),
        text,
        date: confirmed_at,
    }
}

/// The notice to programs: a body in JSON.
pub(super) fn notice(order: &Order, confirmed_at: DateTime<Utc>) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Notice<'a> {
        r#type: &'static str,
        timestamp: Timestamp,
        data: &'a Order,
    }
    serde_json::to_vec(&Notice {
        r#type: "order.confirmed",
        timestamp: Timestamp(confirmed_at),
        data: order,
    })
}
