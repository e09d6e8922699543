//! Stock counts of a store, applied while its stock changes.

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng};
use serde_json::json;
use sqlx::PgPool;

use super::{
    Session,
    model::{Change, Document, Kind, Shop, Step},
    replay::Sent,
};
use crate::support::app::Answer;

impl Session {
    /// Counts one or two products of a store. The document applies that.
    pub async fn count(&self, rng: &mut StdRng, number: usize) -> Document {
        let store = rng.random_range(0..2);
        let mut rows = vec![2 * store, 2 * store + 1];
        rows.truncate(rng.random_range(1..=2));
        let new = json!({ "store_id": self.shop.stores[store], "scope": { "all": true } });
        let begun = self.post(rng, number, "/api/stock-counts/", &new).await;
        let id = begun.body["id"].as_i64().unwrap();
        let mut lines = Vec::new();
        for row in &rows {
            let stock = self
                .get(rng, number, &format!("/api/inventory/{}/", self.shop.rows[*row]))
                .await;
            let on_hand = stock.body["on_hand"].as_i64().unwrap();
            let counted = (on_hand + rng.random_range(-5..=5)).max(0);
            lines.push(json!({ "product_id": self.shop.products[row % 2], "counted": counted }));
        }
        let path = format!("/api/stock-counts/{id}/lines/");
        let entered = self.post(rng, number, &path, &json!({ "lines": lines })).await;
        assert_eq!(entered.status, 200, "{}", entered.text);
        let step = |row| Step {
            row,
            change: Change::Add(0),
            expected: None,
        };
        Document {
            per_item: true,
            prepared: Some((format!("/api/stock-counts/{id}/apply/"), json!({}))),
            names: vec![format!("COUNT {id}")],
            ..Document::new(Kind::StockCount, number, rows.into_iter().map(step).collect())
        }
    }

    /// Applies a stock count, also again. Returns its lines.
    pub async fn apply(&self, rng: &mut StdRng, document: &Document) -> Answer {
        let applied = self.send_until_answered(rng, document).await;
        assert_eq!(applied.status, 200, "{}", applied.text);
        let (path, body) = document.prepared.as_ref().unwrap();
        let lines = path.replace("apply", "lines");
        let before = self.get(rng, document.number, &lines).await;
        if rng.random_bool(0.3) && applied.body["failed"] == 0 {
            let again = self.post(rng, document.number, path, body).await;
            assert_eq!(again.text, applied.text, "it was applied before");
        }
        before
    }
}

/// Sets the changes of applied lines. Compares them with what was counted and the movements until then. Returns the numbers of
/// lines by status.
pub async fn settle(pool: &PgPool, shop: &Shop, sent: &mut [Sent]) -> BTreeMap<String, usize> {
    let lines: Vec<(i64, i64, i64, String, Option<i64>, i64)> = sqlx::query_as(
        "select l.count_id, c.store_id, l.product_id, l.status, l.variance, l.counted - coalesce((
                 select sum(coalesce(on_hand_delta, delta)) from stock_movement m
                 where m.inventory_id = i.id and m.created_at <= l.counted_at
             ), 0)::bigint
         from stock_count_line l join stock_count c on c.id = l.count_id
             join inventory i on i.store_id = c.store_id and i.product_id = l.product_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut statuses = BTreeMap::new();
    for (count, store, product, status, variance, difference) in lines {
        *statuses.entry(status).or_default() += 1;
        let Some(variance) = variance else { continue };
        assert_eq!(variance, difference, "stock count {count}, product {product}");
        let name = format!("COUNT {count}");
        let document = sent
            .iter_mut()
            .map(|sent| &mut sent.document)
            .find(|document| document.names.contains(&name));
        let index = |ids: [i64; 2], id| ids.iter().position(|found| *found == id).unwrap();
        let row = 2 * index(shop.stores, store) + index(shop.products, product);
        let step = document.unwrap().steps.iter_mut().find(|step| step.row == row);
        step.unwrap().change = Change::Add(i32::try_from(variance).unwrap());
    }
    statuses
}
