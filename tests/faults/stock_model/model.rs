//! The model of stock: quantities in memory, and documents that change them step by step.

use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

/// The stock rows: each of two stores stocks both products. Row `2 * store + product`.
pub const ROWS: usize = 4;

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Order,
    Movement,
    Adjustment,
    Reversal,
    Patch,
    Cancellation,
    Fulfillment,
    Return,
    Shipment,
    Receipt,
    TransferCancellation,
    TransferAtOnce,
    StockCount,
}

/// A change of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add(i32),
    Set(i32),
}

/// The change of a row by a document.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub row: usize,
    pub change: Change,
    /// The quantity that it replaces; `None` replaces any.
    pub expected: Option<i32>,
}

/// Why a step is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    Stale,
    Insufficient,
    Reserved,
}

impl Step {
    /// The quantity after the step.
    pub fn apply(self, quantity: i32) -> Result<i32, Refusal> {
        if self.expected.is_some_and(|expected| expected != quantity) {
            return Err(Refusal::Stale);
        }
        match self.change {
            Change::Set(after) => Ok(after),
            Change::Add(delta) if quantity + delta < 0 => Err(Refusal::Insufficient),
            Change::Add(delta) => Ok(quantity + delta),
        }
    }
}

/// A request that changes stock.
#[derive(Clone, Debug)]
pub struct Document {
    /// Names the document in the ledger, and is its idempotency key.
    pub number: usize,
    pub kind: Kind,
    pub steps: Vec<Step>,
    /// Whether a refused step leaves the others.
    pub per_item: bool,
    /// The movements that it reverses.
    pub reverses: Vec<i64>,
    /// The order that it is about, with the units of each step.
    pub order: Option<(i64, Vec<i32>)>,
    /// The reservation that an order takes from.
    pub reservation: Option<i64>,
    /// Whether reservations may lose units.
    pub frees_reserved: bool,
    /// Path and body of a request about a transfer or a stock count.
    pub prepared: Option<(String, Value)>,
    /// What names the document in the ledger, if it is not the tag.
    pub names: Vec<String>,
    /// What is in transit after it.
    pub in_transit: Option<Transit>,
}

/// A transfer of which units are in transit.
#[derive(Clone, Debug)]
pub struct Transit {
    pub id: i64,
    /// The index of the store that shipped.
    pub from: usize,
    /// The indexes of products, and units.
    pub items: Vec<(usize, i32)>,
    pub is_partial: bool,
}

/// An order that a document may be about, with the units of its rows.
#[derive(Clone, Debug)]
pub struct Placed {
    pub id: i64,
    pub units: Vec<(usize, i32)>,
}

/// A movement that a document may reverse.
#[derive(Clone, Copy, Debug)]
pub struct Reversible {
    pub id: i64,
    pub row: usize,
    pub delta: i32,
}

/// The ids that requests name.
pub struct Shop {
    pub stores: [i64; 2],
    pub products: [i64; 2],
    /// The SKUs of the products.
    pub skus: [String; 2],
    /// The stock rows.
    pub rows: [i64; ROWS],
}

impl Document {
    /// A document without what only some kinds have.
    pub fn new(kind: Kind, number: usize, steps: Vec<Step>) -> Self {
        Self {
            number,
            kind,
            steps,
            per_item: false,
            reverses: Vec::new(),
            order: None,
            reservation: None,
            frees_reserved: false,
            prepared: None,
            names: Vec::new(),
            in_transit: None,
        }
    }

    /// A random document. It expects quantities that its client has seen lately.
    pub fn random(rng: &mut StdRng, number: usize, seen: &[i32; ROWS]) -> Self {
        let kinds = [
            Kind::Order,
            Kind::Order,
            Kind::Movement,
            Kind::Adjustment,
            Kind::Patch,
        ];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let mut rows: Vec<usize> = (0..ROWS).collect();
        rows.shuffle(rng);
        let store = rng.random_range(0..2);
        match kind {
            Kind::Order => rows.retain(|row| row / 2 == store),
            Kind::Adjustment => {}
            _ => rows.truncate(1),
        }
        rows.truncate(rng.random_range(1..=rows.len()));
        let steps = rows.into_iter().map(|row| Step {
            row,
            change: change(rng, kind, number),
            expected: (kind != Kind::Order && rng.random_bool(0.4)).then_some(seen[row]),
        });
        let steps = steps.collect();
        Self {
            per_item: kind == Kind::Adjustment && rng.random_bool(0.5),
            frees_reserved: kind != Kind::Order && rng.random_bool(0.3),
            ..Self::new(kind, number, steps)
        }
    }

    /// A random document of an order. It may name more units than are left.
    pub fn of_order(rng: &mut StdRng, number: usize, order: &Placed) -> Self {
        let kinds = [Kind::Cancellation, Kind::Fulfillment, Kind::Return];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let mut units = order.units.clone();
        units.shuffle(rng);
        units.truncate(rng.random_range(1..=units.len()));
        let taken: Vec<i32> = units
            .iter()
            .map(|(_, most)| rng.random_range(1..=*most))
            .collect();
        let steps = units.iter().zip(&taken).map(|((row, _), taken)| Step {
            row: *row,
            change: Change::Add(match kind {
                Kind::Fulfillment => 0,
                _ => rng.random_range(0..=*taken),
            }),
            expected: None,
        });
        let steps = steps.collect();
        Self {
            order: Some((order.id, taken)),
            ..Self::new(kind, number, steps)
        }
    }

    /// The reversal of the movements of another document.
    pub fn reversal(number: usize, movements: &[Reversible]) -> Self {
        let steps = movements.iter().map(|movement| Step {
            row: movement.row,
            change: Change::Add(-movement.delta),
            expected: None,
        });
        Self {
            reverses: movements.iter().map(|movement| movement.id).collect(),
            ..Self::new(Kind::Reversal, number, steps.collect())
        }
    }

    /// The text that names the document in the ledger.
    pub fn tag(&self) -> String {
        format!("document {}", self.number)
    }

    /// Method, path and body of the request.
    pub fn request(&self, shop: &Shop) -> (&'static str, String, Value) {
        if let Some((path, body)) = &self.prepared {
            return ("POST", path.clone(), body.clone());
        }
        let first = self.steps[0];
        let row = shop.rows[first.row];
        match self.kind {
            Kind::Order => {
                let mut body = self.order(shop);
                if let Some(id) = self.reservation {
                    body["reservation_id"] = json!(id);
                }
                ("POST", "/api/orders/".to_owned(), body)
            }
            Kind::Movement => (
                "POST",
                format!("/api/inventory/{row}/movements/"),
                self.movement(),
            ),
            Kind::Adjustment => (
                "POST",
                "/api/inventory/adjustments/".to_owned(),
                self.adjustments(shop),
            ),
            Kind::Reversal => {
                let body = json!({ "movement_ids": self.reverses, "reason": self.tag() });
                ("POST", "/api/inventory/reversals/".to_owned(), body)
            }
            Kind::Patch => {
                let Change::Set(quantity) = first.change else {
                    panic!("a PATCH sets")
                };
                let mut body = json!({ "quantity": quantity, "release_reservations": self.frees_reserved });
                expect(&mut body, first);
                ("PATCH", format!("/api/inventory/{row}/"), body)
            }
            Kind::Cancellation => self.about_order(shop, "cancellations", "reason"),
            Kind::Fulfillment => self.about_order(shop, "fulfillments", "note"),
            Kind::Return => self.about_order(shop, "returns", "reason"),
            other => panic!("{other:?} is prepared"),
        }
    }

    fn about_order(&self, shop: &Shop, path: &str, tag: &str) -> (&'static str, String, Value) {
        let (order, taken) = self.order.as_ref().unwrap();
        let items = self.steps.iter().zip(taken).map(|(step, taken)| {
            let mut item = json!({ "product_id": shop.products[step.row % 2], "quantity": taken });
            if let (Change::Add(restock), "reason") = (step.change, tag) {
                item["restock"] = json!(restock);
            }
            item
        });
        let mut body = json!({ "items": items.collect::<Vec<_>>() });
        body[tag] = json!(self.tag());
        ("POST", format!("/api/orders/{order}/{path}/"), body)
    }

    /// The body of an order, and that of a reservation for it.
    pub fn order(&self, shop: &Shop) -> Value {
        let items = self.steps.iter().map(|step| {
            let Change::Add(delta) = step.change else {
                panic!("an order takes units")
            };
            json!({ "product_id": shop.products[step.row % 2], "quantity": -delta })
        });
        json!({ "store_id": shop.stores[self.steps[0].row / 2], "items": items.collect::<Vec<_>>() })
    }

    fn movement(&self) -> Value {
        let (kind, quantity) = match self.steps[0].change {
            Change::Set(quantity) => ("count", quantity),
            Change::Add(delta) if delta < 0 => ("remove", -delta),
            Change::Add(delta) => ("add", delta),
        };
        let mut body = json!({ "kind": kind, "quantity": quantity, "reason": self.tag(), "release_reservations": self.frees_reserved });
        expect(&mut body, self.steps[0]);
        body
    }

    fn adjustments(&self, shop: &Shop) -> Value {
        let items = self.steps.iter().map(|step| {
            let (store, product) = (step.row / 2, step.row % 2);
            let mut item = match step.change {
                Change::Add(delta) => json!({ "inventory_id": shop.rows[step.row], "delta": delta }),
                Change::Set(quantity) => {
                    let (store, sku) = (shop.stores[store], &shop.skus[product]);
                    json!({ "store_id": store, "sku": sku, "set_to": quantity, "expected_quantity": null })
                }
            };
            expect(&mut item, *step);
            item
        });
        let mode = if self.per_item {
            "per_item"
        } else {
            "all_or_nothing"
        };
        json!({
            "mode": mode, "reason_code": "OTHER", "reference": self.tag(), "release_reservations": self.frees_reserved,
            "adjustments": items.collect::<Vec<_>>(),
        })
    }
}

/// A change that suits the kind. The ledger has no name for a PATCH, so each sets a quantity of its own.
fn change(rng: &mut StdRng, kind: Kind, number: usize) -> Change {
    match kind {
        Kind::Order => Change::Add(-rng.random_range(1..=30)),
        Kind::Patch => Change::Set(i32::try_from(100 + number).unwrap()),
        _ if rng.random_bool(0.3) => Change::Set(rng.random_range(0..100)),
        _ if rng.random_bool(0.5) => Change::Add(rng.random_range(1..=60)),
        _ => Change::Add(-rng.random_range(1..=60)),
    }
}

fn expect(body: &mut Value, step: Step) {
    if let Some(expected) = step.expected {
        body["expected_quantity"] = json!(expected);
    }
}
