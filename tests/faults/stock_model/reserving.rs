//! Reservations of orders: taken by the order, released, extended or left to expire.

use rand::{Rng, rngs::StdRng};
use serde_json::json;
use sqlx::PgPool;

use super::{Session, model::Document};

impl Session {
    /// Reserves the items of an order. Returns the reservation if there is one, which may have ended.
    pub async fn reserve(&self, rng: &mut StdRng, order: &Document) -> Option<i64> {
        let number = order.number;
        let use_of_it = rng.random_range(0..6);
        let mut body = order.order(&self.shop);
        body["ttl_seconds"] = json!(if use_of_it == 0 { 1 } else { 600 });
        let made = self.post(rng, number, "/api/reservations/", &body).await;
        let id = made.body["id"].as_i64()?;
        let (action, body) = match use_of_it {
            // It expires.
            0 => return None,
            1 => ("release", json!({})),
            2 => ("extend", json!({ "ttl_seconds": 300, "shorten": true })),
            _ => return Some(id),
        };
        let path = format!("/api/reservations/{id}/{action}/");
        let done = self.post(rng, number, &path, &body).await;
        assert!(
            done.status == 200 || done.body["code"] == "reservation_ended",
            "{}",
            done.text
        );
        Some(id)
    }
}

/// How many reservations ended in which way, and how many of them lost units. In a long run all ways occur.
pub async fn ended(pool: &PgPool, is_long: bool) -> Vec<(String, i64, i64)> {
    let ended: Vec<(String, i64, i64)> = sqlx::query_as(
        "select status, count(*), count(*) filter (where stock_lost) from reservation group by status order by status",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let ways = if is_long { 3 } else { 1 };
    for status in &["CONSUMED", "EXPIRED", "RELEASED"][..ways] {
        assert!(
            ended.iter().any(|(found, ..)| found == status),
            "{status} occurred: {ended:?}"
        );
    }
    ended
}
