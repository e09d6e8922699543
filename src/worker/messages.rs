//! The messages about a confirmed order: an e-mail and a webhook body.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    delivery::{EmailMessage, one_line},
    order::Order,
    timestamp::Timestamp,
};

/// The e-mail.
pub(super) fn email(order: &Order, confirmed_at: DateTime<Utc>) -> EmailMessage {
    let store = one_line(&order.store.name);
    let mut text = format!(
        "Order {} at {store} is confirmed.\n\nPlaced: {}\n\n",
        order.id, order.created_at
    );
    for item in &order.items {
        // Writing to a string never fails.
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
    EmailMessage {
        subject: format!("Order {} confirmed: {} at {store}", order.id, order.total_amount),
        text,
        date: confirmed_at,
    }
}

/// The JSON body of the webhook.
pub(super) fn webhook_body(order: &Order, confirmed_at: DateTime<Utc>) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        timestamp: Timestamp,
        data: &'a Order,
    }
    serde_json::to_vec(&Body {
        r#type: "order.confirmed",
        timestamp: Timestamp(confirmed_at),
        data: order,
    })
}
