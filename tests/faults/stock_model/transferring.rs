//! Transfers between the stores: shipped, received in part or whole, cancelled, or made at once.

use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    Session,
    model::{Change, Document, Kind, Shop, Step, Transit},
};
use crate::support::app::Answer;

impl Session {
    /// A random document about a transfer.
    pub async fn transfer(&self, rng: &mut StdRng, number: usize) -> Document {
        let in_transit = {
            let mut all = self.in_transit.lock().unwrap();
            let last = all.len();
            // A document of its own takes each transfer, so that the model knows what is in transit.
            (last > 0 && rng.random_bool(0.6)).then(|| all.swap_remove(rng.random_range(0..last)))
        };
        match in_transit {
            Some(transit) if rng.random_bool(if transit.is_partial { 1.0 } else { 0.3 }) => {
                self.cancel_transfer(rng, number, &transit)
            }
            Some(transit) => self.receive(rng, number, &transit),
            None => self.ship(rng, number).await,
        }
    }

    async fn ship(&self, rng: &mut StdRng, number: usize) -> Document {
        let from = rng.random_range(0..2);
        let mut items: Vec<(usize, i32)> = (0..2)
            .map(|product| (product, rng.random_range(1..=20)))
            .collect();
        items.truncate(rng.random_range(1..=2));
        let is_at_once = rng.random_bool(0.3);
        let new = json!({
            "from_store_id": self.shop.stores[from], "to_store_id": self.shop.stores[1 - from], "immediate": is_at_once,
            "items": each(&items, |(product, units)| json!({ "product_id": self.shop.products[product], "quantity": units })),
        });
        let out = steps(from, &items, |units| -units);
        if is_at_once {
            let steps = [out, steps(1 - from, &items, |units| units)].concat();
            return Document {
                prepared: Some(("/api/transfers/".to_owned(), new)),
                ..Document::new(Kind::TransferAtOnce, number, steps)
            };
        }
        let draft = self.post(rng, number, "/api/transfers/", &new).await;
        let id = draft.body["id"].as_i64().unwrap();
        Document {
            prepared: Some((format!("/api/transfers/{id}/ship/"), json!({}))),
            names: vec![format!("TRANSFER_OUT {id} {}", self.shop.stores[from])],
            in_transit: Some(Transit {
                id,
                from,
                items,
                is_partial: false,
            }),
            ..Document::new(Kind::Shipment, number, out)
        }
    }

    fn receive(&self, rng: &mut StdRng, number: usize, transit: &Transit) -> Document {
        let (mut left, mut arrived, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for (product, units) in &transit.items {
            let received = rng.random_range(0..=*units);
            let damaged = rng.random_range(0..=(units - received).min(1));
            let missing = rng.random_range(0..=units - received - damaged);
            left.push((*product, units - received - damaged - missing));
            if received + damaged > 0 {
                arrived.push((*product, received));
            }
            let id = self.shop.products[*product];
            bodies.push(
                json!({ "product_id": id, "received": received, "damaged": damaged, "missing": missing }),
            );
        }
        bodies.retain(|item| {
            ["received", "damaged", "missing"]
                .iter()
                .any(|name| item[name] != 0)
        });
        left.retain(|(_, units)| *units > 0);
        if arrived.is_empty() {
            return self.cancel_transfer(rng, number, transit);
        }
        let to = 1 - transit.from;
        Document {
            prepared: Some((
                format!("/api/transfers/{}/receive/", transit.id),
                json!({ "items": bodies }),
            )),
            names: vec![format!("TRANSFER_IN {} {}", transit.id, self.shop.stores[to])],
            in_transit: (!left.is_empty()).then_some(Transit {
                items: left,
                is_partial: true,
                ..transit.clone()
            }),
            ..Document::new(Kind::Receipt, number, steps(to, &arrived, |units| units))
        }
    }

    /// At least one unit is back at the source: a document that changes no row has no movement.
    fn cancel_transfer(&self, rng: &mut StdRng, number: usize, transit: &Transit) -> Document {
        let back: Vec<(usize, i32)> = transit
            .items
            .iter()
            .map(|(product, units)| (*product, rng.random_range(1..=*units)))
            .collect();
        let items = transit.items.iter().zip(&back).map(|((product, units), (_, returned))| {
            json!({ "product_id": self.shop.products[*product], "returned": returned, "lost": units - returned })
        });
        let body = json!({ "items": items.collect::<Vec<_>>() });
        Document {
            prepared: Some((format!("/api/transfers/{}/cancel/", transit.id), body)),
            names: vec![format!(
                "TRANSFER_IN {} {}",
                transit.id, self.shop.stores[transit.from]
            )],
            ..Document::new(
                Kind::TransferCancellation,
                number,
                steps(transit.from, &back, |units| units),
            )
        }
    }
}

/// What names a transfer at once in the ledger.
pub fn names_at_once(document: &Document, answer: &Answer, shop: &Shop) -> Vec<String> {
    match answer.body["id"]
        .as_i64()
        .filter(|_| document.kind == Kind::TransferAtOnce)
    {
        Some(id) => {
            let name = |(kind, step): (&str, &Step)| format!("{kind} {id} {}", shop.stores[step.row / 2]);
            let ends = [
                ("TRANSFER_OUT", &document.steps[0]),
                ("TRANSFER_IN", &document.steps[document.steps.len() - 1]),
            ];
            ends.map(name).to_vec()
        }
        None => Vec::new(),
    }
}

fn steps(store: usize, items: &[(usize, i32)], change: impl Fn(i32) -> i32) -> Vec<Step> {
    let step = |(product, units): &(usize, i32)| Step {
        row: 2 * store + product,
        change: Change::Add(change(*units)),
        expected: None,
    };
    items.iter().map(step).collect()
}

fn each(items: &[(usize, i32)], body: impl Fn((usize, i32)) -> Value) -> Vec<Value> {
    items.iter().copied().map(body).collect()
}
