//! Replays the ledger: documents take effect one after the other, each as the model says and as its client was told.

use std::collections::{HashMap, HashSet, VecDeque};

use sqlx::PgPool;

use super::{
    model::{Change, Document, Kind, ROWS, Refusal, Shop, Step},
    told::{Told, told},
    transferring,
};
use crate::support::app::Answer;

/// A document that was sent, and its response; `None` if it got none that tells whether it took effect.
pub struct Sent {
    pub document: Document,
    pub answer: Option<Answer>,
}

/// How many documents of a kind had an effect, and how many steps were refused for which reason.
#[derive(Debug, Default)]
pub struct Replayed {
    pub effective: HashMap<Kind, usize>,
    pub refused: HashMap<Refusal, usize>,
}

/// A movement of the ledger.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Movement {
    inventory_id: i64,
    kind: String,
    delta: i32,
    quantity_after: i32,
    order_id: Option<i64>,
    tag: Option<String>,
}

/// The ledger by rows and by documents.
#[derive(Default)]
struct Ledger {
    initial: [i32; ROWS],
    /// The documents that changed a row, in sequence, and the quantities after them.
    queues: [VecDeque<(usize, i32)>; ROWS],
    /// All quantities that a row had.
    history: [HashSet<i32>; ROWS],
    /// The quantities of rows after a document.
    written: HashMap<usize, HashMap<usize, i32>>,
}

/// Compares ledger, responses and model.
pub async fn replay(pool: &PgPool, shop: &Shop, sent: &[Sent]) -> Replayed {
    let ledger = Ledger::read(pool, shop, sent).await;
    let mut replayed = Replayed::default();
    for (document, rows) in &ledger.written {
        let Document {
            kind,
            steps,
            per_item,
            ..
        } = &sent[*document].document;
        let is_whole = rows.len() == steps.len();
        assert!(is_whole || *per_item, "document {document} took effect in part");
        *replayed.effective.entry(*kind).or_default() += 1;
    }
    for (index, sent) in sent.iter().enumerate() {
        check_response(
            shop,
            sent,
            ledger.written.get(&index),
            &ledger.history,
            &mut replayed,
        );
    }
    let done = sent
        .iter()
        .enumerate()
        .filter(|(index, _)| ledger.written.contains_key(index));
    let mut reversed = HashSet::new();
    for id in done.flat_map(|(_, sent)| &sent.document.reverses) {
        assert!(reversed.insert(id), "movement {id} was reversed twice");
    }
    let quantities = ledger.replay(sent);
    let now = sqlx::query_scalar("select quantity from inventory order by id");
    let now: Vec<i32> = now.fetch_all(pool).await.unwrap();
    assert_eq!(now, quantities);
    replayed
}

impl Ledger {
    async fn read(pool: &PgPool, shop: &Shop, sent: &[Sent]) -> Self {
        let movements: Vec<Movement> = sqlx::query_as(
            "select m.inventory_id, m.kind, delta, quantity_after, case when reference_type is null then m.order_id end as order_id,
                 case reference_type
                     when 'TRANSFER' then format('%s %s %s', m.kind, reference_id, i.store_id)
                     when 'STOCK_COUNT' then format('COUNT %s', reference_id)
                     else coalesce(m.reason, reference, d.note)
                 end as tag
             from stock_movement m join inventory i on i.id = m.inventory_id
                 left join order_document d on d.kind = reference_type and d.id = reference_id
             order by m.id",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let documents = Documents::of(shop, sent);
        let mut ledger = Self::default();
        for movement in movements {
            let row = shop.rows.iter().position(|id| *id == movement.inventory_id);
            ledger.add(row.unwrap(), &movement, &documents);
        }
        ledger
    }

    fn add(&mut self, row: usize, movement: &Movement, documents: &Documents) {
        let after = movement.quantity_after;
        self.history[row].insert(after);
        if movement.kind == "INITIAL" {
            self.initial[row] = after;
            return;
        }
        let before = self.queues[row]
            .back()
            .map_or(self.initial[row], |(_, after)| *after);
        assert_eq!(after - movement.delta, before, "{movement:?}");
        let document = documents.find(movement, row);
        self.queues[row].push_back((document, after));
        let before = self.written.entry(document).or_default().insert(row, after);
        assert_eq!(
            before, None,
            "document {document} took effect twice: {movement:?}"
        );
    }

    /// Lets the documents take effect one after the other: one whose movements are the next of all its rows, until none is left.
    /// If there is no such document, two of them saw each other's changes half done.
    fn replay(mut self, sent: &[Sent]) -> [i32; ROWS] {
        let mut quantities = self.initial;
        while self.queues.iter().any(|queue| !queue.is_empty()) {
            let next = self.next();
            for (row, after) in self.written.remove(&next).unwrap() {
                self.queues[row].pop_front();
                let steps = &sent[next].document.steps;
                let step = steps.iter().find(|step| step.row == row);
                let step = step.unwrap_or_else(|| panic!("document {next} changed row {row}"));
                let (quantity, expected) = (quantities[row], Ok(after));
                assert_eq!(
                    step.apply(quantity),
                    expected,
                    "{step:?} at {quantity}, document {next}"
                );
                quantities[row] = after;
            }
        }
        quantities
    }

    fn next(&self) -> usize {
        let heads: Vec<usize> = self
            .queues
            .iter()
            .filter_map(|queue| Some(queue.front()?.0))
            .collect();
        let is_next = |document: &&usize| {
            let at_head = heads.iter().filter(|head| head == document).count();
            at_head == self.written[*document].len()
        };
        let next = heads.iter().find(is_next);
        *next.unwrap_or_else(|| panic!("no sequence explains the ledger from {heads:?} on"))
    }
}

/// Finds the document of a movement.
#[derive(Default)]
struct Documents {
    orders: HashMap<i64, usize>,
    tags: HashMap<String, usize>,
    /// PATCH leaves no text in the ledger, so each sets a quantity of its own.
    patches: HashMap<(usize, i32), usize>,
}

impl Documents {
    fn of(shop: &Shop, sent: &[Sent]) -> Self {
        let mut all = Self::default();
        for (index, Sent { document, answer }) in sent.iter().enumerate() {
            let Step { row, change, .. } = document.steps[0];
            if let (Kind::Patch, Change::Set(quantity)) = (document.kind, change) {
                all.patches.insert((row, quantity), index);
            } else if document.kind == Kind::Order {
                // Of a refused order there is none.
                if let Some(id) = answer.as_ref().unwrap().body["id"].as_i64() {
                    assert_eq!(all.orders.insert(id, index), None, "two answers for order {id}");
                }
            } else if document.prepared.is_some() {
                let answer = answer.as_ref().unwrap();
                let names = transferring::names_at_once(document, answer, shop);
                let names = document.names.iter().cloned().chain(names);
                all.tags.extend(names.map(|name| (name, index)));
            } else {
                all.tags.insert(document.tag(), index);
            }
        }
        all
    }

    fn find(&self, movement: &Movement, row: usize) -> usize {
        let found = match (movement.order_id, &movement.tag) {
            (Some(order), _) => self.orders.get(&order),
            (None, Some(tag)) => self.tags.get(tag),
            (None, None) => self.patches.get(&(row, movement.quantity_after)),
        };
        *found.unwrap_or_else(|| panic!("no client asked for {movement:?}"))
    }
}

/// Compares a response with the ledger. The quantity that forbids a step is one that the row had.
fn check_response(
    shop: &Shop,
    Sent { document, answer }: &Sent,
    written: Option<&HashMap<usize, i32>>,
    history: &[HashSet<i32>],
    replayed: &mut Replayed,
) {
    let Some(answer) = answer else { return };
    for (step, told) in document.steps.iter().zip(told(document, answer, shop)) {
        let written = written.and_then(|written| written.get(&step.row)).copied();
        let history = &history[step.row];
        let what = || format!("{document:?}: {}", answer.text);
        match told {
            Told::Done(None) => assert!(written.is_some(), "{}", what()),
            // A PATCH with the current quantity writes nothing.
            Told::Done(Some(after)) if document.kind == Kind::Patch && written.is_none() => {
                assert!(history.contains(&after), "{}", what());
            }
            Told::Done(after) => assert_eq!(written, after, "{}", what()),
            Told::Refused(refusal, quantity) => {
                *replayed.refused.entry(refusal).or_default() += 1;
                assert_eq!(written, None, "{}", what());
                if let Some(quantity) = quantity {
                    // An order is told what is available: units less than the row had, if some were reserved.
                    let was_there = match document.kind {
                        Kind::Order => history.iter().any(|had| *had >= quantity),
                        _ => history.contains(&quantity),
                    };
                    assert!(was_there, "{}", what());
                    let applied = step.apply(quantity);
                    assert_eq!(
                        applied.err(),
                        Some(refusal).filter(|why| *why != Refusal::Reserved),
                        "{}",
                        what()
                    );
                }
            }
            Told::Skipped => assert_eq!(written, None, "{}", what()),
        }
    }
}
