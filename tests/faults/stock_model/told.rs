//! What a response tells about the steps of a document.

use serde_json::Value;

use super::model::{Document, Kind, Refusal, Shop, Step};
use crate::support::app::Answer;

/// What a response tells about a step.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// It was done, with the quantity after it unless the response has none.
    Done(Option<i32>),
    /// It was refused, with the quantity that forbids it unless the response has none.
    Refused(Refusal, Option<i32>),
    /// Another step was refused.
    Skipped,
}

/// What a response tells about each step.
pub fn told(document: &Document, answer: &Answer, shop: &Shop) -> Vec<Told> {
    let status = answer.status.as_u16();
    match (document.kind, status) {
        (Kind::Order | Kind::TransferAtOnce | Kind::Cancellation | Kind::Fulfillment | Kind::Return, 201)
        | (Kind::Shipment | Kind::Receipt | Kind::TransferCancellation, 200) => {
            vec![Told::Done(None); document.steps.len()]
        }
        (Kind::Order, 409) => {
            assert_eq!(answer.body["code"], "reservation_ended", "{}", answer.text);
            vec![Told::Skipped; document.steps.len()]
        }
        (Kind::Order, 200) => rejected(document, &answer.body, shop),
        (Kind::Adjustment, 200 | 409) => {
            let results = answer.body["results"].as_array().unwrap();
            assert_eq!(results.len(), document.steps.len(), "{}", answer.text);
            results.iter().map(result).collect()
        }
        (Kind::Reversal, 201) => by_row(document, answer.body["results"].as_array().unwrap(), shop),
        (Kind::Reversal, 409) if answer.body["code"] == "already_reversed" => {
            vec![Told::Skipped; document.steps.len()]
        }
        (Kind::Reversal, 409) => by_row(document, std::slice::from_ref(&answer.body), shop),
        (Kind::Movement, 201) => vec![Told::Done(number(&answer.body["quantity_after"]))],
        (Kind::Movement, 400) => vec![Told::Refused(Refusal::Insufficient, None)],
        (Kind::Patch, 200) => vec![Told::Done(number(&answer.body["quantity"]))],
        (Kind::Cancellation | Kind::Fulfillment | Kind::Return, 409) => {
            let code = answer.body["code"].as_str();
            assert!(
                matches!(code, Some("exceeds_quantity" | "invalid_transition")),
                "{}",
                answer.text
            );
            vec![Told::Skipped; document.steps.len()]
        }
        (Kind::Shipment | Kind::TransferAtOnce, 409) => {
            by_row(document, std::slice::from_ref(&answer.body), shop)
        }
        (Kind::StockCount, 200) => counted(document, answer.body["results"].as_array().unwrap(), shop),
        (Kind::Movement | Kind::Patch, 409) => {
            let quantity = number(&answer.body["quantity"]);
            vec![Told::Refused(refusal(&answer.body), quantity)]
        }
        _ => panic!("{document:?} got {status}: {}", answer.text),
    }
}

/// The items of a rejected order, by product; a document has at most one step for each product of its store.
fn rejected(document: &Document, order: &Value, shop: &Shop) -> Vec<Told> {
    let rejections = order["rejections"].as_array().unwrap();
    assert!(!rejections.is_empty(), "{order}");
    let find = |step: &Step| {
        let requested = rejections
            .iter()
            .find(|item| item["product_id"] == shop.products[step.row % 2]);
        requested.map_or(Told::Skipped, |item| {
            Told::Refused(refusal(item), number(&item["available"]))
        })
    };
    document.steps.iter().map(find).collect()
}

/// The steps of a reversal: done, or one refused.
fn by_row(document: &Document, told: &[Value], shop: &Shop) -> Vec<Told> {
    let find = |step: &Step| {
        let told = told
            .iter()
            .find(|told| told["inventory_id"] == shop.rows[step.row]);
        told.map_or(Told::Skipped, |told| match number(&told["quantity_after"]) {
            Some(after) => Told::Done(Some(after)),
            None => Told::Refused(refusal(told), number(&told["quantity"])),
        })
    };
    document.steps.iter().map(find).collect()
}

/// The lines of a stock count after it was applied.
fn counted(document: &Document, lines: &[Value], shop: &Shop) -> Vec<Told> {
    let find = |step: &Step| {
        let product = shop.products[step.row % 2];
        let line = lines.iter().find(|line| line["product_id"] == product).unwrap();
        match line["status"].as_str().unwrap() {
            "APPLIED" => Told::Done(None),
            "SUPERSEDED" | "FAILED" => Told::Skipped,
            other => panic!("{other}"),
        }
    };
    document.steps.iter().map(find).collect()
}

fn result(result: &Value) -> Told {
    match result["status"].as_str().unwrap() {
        "applied" | "unchanged" => Told::Done(number(&result["quantity_after"])),
        "failed" => Told::Refused(refusal(result), number(&result["quantity"])),
        "skipped" => Told::Skipped,
        other => panic!("{other}"),
    }
}

fn refusal(body: &Value) -> Refusal {
    match body["code"].as_str() {
        Some("stale_quantity") => Refusal::Stale,
        Some("insufficient_stock") => Refusal::Insufficient,
        Some("reserved") => Refusal::Reserved,
        _ => panic!("refused with {body}"),
    }
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().map(|number| number.try_into().unwrap())
}
