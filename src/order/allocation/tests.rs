//! Tests of the decisions: examples, and properties of random batches.

mod reserved;

use std::sync::Arc;

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

use super::*;
use crate::order::OrderData;

const STORE: i64 = 1;

fn stock(rows: &[(i64, i64, i32)]) -> Stock {
    let mut rows: Vec<StockRow> = rows
        .iter()
        .map(|&(store_id, product_id, quantity)| StockRow {
            id: store_id * 1000 + product_id,
            store_id,
            product_id,
            quantity,
            reserved: 0,
            committed: 0,
            title: format!("P{product_id}"),
            price: Money(Decimal::new(1000 + product_id, 2)),
            is_active: product_id % 5 != 0,
        })
        .collect();
    rows.sort_unstable_by_key(|row| (row.store_id, row.product_id));
    let summary = |id| StoreSummary {
        id,
        name: format!("S{id}"),
        location: String::new(),
    };
    Stock {
        tracked: HashSet::new(),
        rows,
        stores: (1..=2).map(|id| (id, summary(id))).collect(),
        stocked_elsewhere: HashSet::from([8, 9]),
        references: References::default(),
        reservations: Reservations::default(),
    }
}

fn order(store: i64, items: &[(i64, i64)]) -> NewOrder {
    let item = |&(product, quantity): &(i64, i64)| NewItem {
        product_id: product,
        quantity,
        price: None,
    };
    NewOrder::new(store, items.iter().map(item).collect())
}

fn decide_one(stock: &mut Stock, items: &[(i64, i64)]) -> Decision {
    allocate(stock, &[order(STORE, items)]).remove(0)
}

fn reason(decision: &Decision) -> &str {
    match decision {
        Decision::Rejected { reason, .. } => reason,
        other => panic!("{other:?} is no rejection"),
    }
}

#[test]
fn confirmed_order_has_its_allocations_in_item_order() {
    let mut stock = stock(&[(1, 1, 5), (1, 2, 7)]);
    let decision = decide_one(&mut stock, &[(2, 3), (1, 5)]);
    let expected = Decision::Confirmed {
        allocations: vec![
            Allocation {
                row: 1,
                quantity: 3,
                remaining: 4,
                committed: None,
                unit_price: Money(Decimal::new(1002, 2)),
            },
            Allocation {
                row: 0,
                quantity: 5,
                remaining: 0,
                committed: None,
                unit_price: Money(Decimal::new(1001, 2)),
            },
        ],
        total: Money(Decimal::new(3 * 1002 + 5 * 1001, 2)),
    };
    assert_eq!(decision, expected);
}

#[test]
fn an_order_of_a_tracked_store_commits_its_units() {
    let mut stock = stock(&[(1, 1, 9)]);
    stock.tracked.insert(STORE);
    for (units, committed) in [(5, 5), (3, 8)] {
        let Decision::Confirmed { allocations, .. } = decide_one(&mut stock, &[(1, units)]) else {
            panic!("the units are in stock")
        };
        assert_eq!(allocations[0].committed, Some((0, committed)));
    }
    stock.tracked.clear();
    let Decision::Confirmed { allocations, .. } = decide_one(&mut stock, &[(1, 1)]) else {
        panic!("the unit is in stock")
    };
    assert_eq!(allocations[0].committed, Some((-1, 8)));

    stock.rows[0].quantity = i32::MAX;
    let rejected = decide_one(&mut stock, &[(1, i64::from(i32::MAX))]);
    assert!(reason(&rejected).contains("available 2147483639"), "{rejected:?}");
}

#[test]
fn unknown_products_are_reported_before_absent_and_short_ones() {
    let mut stock = stock(&[(1, 1, 5), (1, 5, 5), (2, 3, 5)]);
    // 5 is inactive, 7 unknown, 8 and 9 are kept by no store, 1 is short.
    let decision = decide_one(&mut stock, &[(1, 6), (9, 1), (7, 1), (8, 1), (5, 1)]);
    assert_eq!(reason(&decision), "Products not found or inactive: {5, 7}");
    let decision = decide_one(&mut stock, &[(1, 6), (9, 1), (8, 1)]);
    assert_eq!(reason(&decision), "Products not available in store: {8, 9}");
    let decision = decide_one(&mut stock, &[(1, 6)]);
    assert_eq!(
        reason(&decision),
        "Insufficient stock: P1: requested 6, available 5"
    );
}

#[test]
fn earlier_orders_of_a_batch_take_stock_first_and_rejected_ones_none() {
    let mut stock = stock(&[(1, 1, 5), (1, 2, 5), (2, 1, 1)]);
    let orders = [
        order(1, &[(1, 4)]),
        order(1, &[(1, 2), (2, 1)]),
        order(1, &[(1, 1), (2, 5)]),
        order(2, &[(1, 1)]),
        order(3, &[(1, 1)]),
    ];
    let decisions = allocate(&mut stock, &orders);
    assert!(matches!(decisions[0], Decision::Confirmed { .. }));
    assert_eq!(
        reason(&decisions[1]),
        "Insufficient stock: P1: requested 2, available 1"
    );
    assert!(matches!(decisions[2], Decision::Confirmed { .. }));
    assert!(matches!(decisions[3], Decision::Confirmed { .. }));
    assert_eq!(decisions[4], Decision::NoStore);
    assert_eq!(quantities(&stock), [0, 0, 0]);
}

#[test]
fn order_above_the_largest_total_takes_no_stock_from_later_ones() {
    let mut stock = stock(&[(1, 1, 1000), (1, 2, 1)]);
    stock.rows[0].price = Money(Decimal::new(9_999_999_999, 2));
    stock.rows[1].price = Money(Decimal::new(99, 2));
    let orders = [
        order(1, &[(1, 101)]),
        order(1, &[(1, 100), (2, 1)]),
        order(1, &[(1, 100)]),
    ];
    let decisions = allocate(&mut stock, &orders);
    assert_eq!(decisions[0], Decision::TotalTooLarge);
    // 9,999,999,999.00 and 0.99 are the largest total to the cent.
    assert!(
        matches!(decisions[1], Decision::Confirmed { total, .. } if total == LARGEST_TOTAL),
        "{decisions:?}"
    );
    assert!(matches!(decisions[2], Decision::Confirmed { .. }));
    assert_eq!(quantities(&stock), [800, 0]);
}

#[test]
fn largest_numbers_are_short_or_unknown() {
    let ask = |product_id, quantity| order(STORE, &[(product_id, quantity)]);
    let mut stock = stock(&[(1, 1, 5)]);
    let decisions = allocate(&mut stock, &[ask(1, i64::MAX), ask(i64::MAX, 1)]);
    assert_eq!(
        reason(&decisions[0]),
        "Insufficient stock: P1: requested 9223372036854775807, available 5"
    );
    assert_eq!(
        reason(&decisions[1]),
        "Products not found or inactive: {9223372036854775807}"
    );
}

#[test]
fn a_reference_goes_to_the_first_order_that_is_not_rejected() {
    let named = |quantity, reference: &str| NewOrder {
        data: Some(Arc::new(OrderData {
            external_reference: Some(reference.to_owned()),
            ..OrderData::default()
        })),
        ..order(STORE, &[(1, quantity)])
    };
    let mut stock = stock(&[(1, 1, 5)]);
    let orders = [named(9, "A"), named(1, "A"), named(1, "A"), named(1, "B")];
    let decisions = allocate(&mut stock, &orders);
    assert!(matches!(decisions[0], Decision::Rejected { .. }));
    assert!(matches!(decisions[1], Decision::Confirmed { .. }));
    assert_eq!(decisions[2], Decision::Duplicate(Holder::InBatch(1)));
    assert!(matches!(decisions[3], Decision::Confirmed { .. }));
    assert_eq!(quantities(&stock), [3]);
}

#[test]
fn an_item_may_have_a_price_of_its_own() {
    let mut stock = stock(&[(1, 1, 5)]);
    let mut order = order(STORE, &[(1, 2)]);
    order.items[0].price = Some(Money(Decimal::new(150, 2)));
    let decision = allocate(&mut stock, &[order]).remove(0);
    assert!(
        matches!(&decision, Decision::Confirmed { total, .. } if *total == Money(Decimal::new(300, 2))),
        "{decision:?}"
    );
}

fn quantities(stock: &Stock) -> Vec<i32> {
    stock.rows.iter().map(|row| row.quantity).collect()
}

/// Stock of two stores: of each of seven products some, none, or no row at all.
fn some_stock() -> impl Strategy<Value = Vec<(i64, i64, i32)>> {
    let row = prop::option::weighted(0.85, 0..15_i32);
    prop::collection::vec(row, 14).prop_map(|quantities| {
        (0_i64..)
            .zip(quantities)
            .filter_map(|(n, quantity)| Some((n / 7 + 1, n % 7 + 1, quantity?)))
            .collect()
    })
}

/// Orders of distinct products 1 to 10, few of them in a third store, which does not exist.
fn some_orders() -> impl Strategy<Value = Vec<NewOrder>> {
    let store = prop_oneof![6 => Just(1_i64), 3 => Just(2), 1 => Just(3)];
    // Mostly products in stock.
    let products = prop_oneof![
        5 => prop::sample::subsequence(vec![1_i64, 2, 3, 4, 6, 7], 1..=4),
        1 => prop::sample::subsequence((1..=10).collect::<Vec<i64>>(), 1..=5),
    ];
    let items = products
        .prop_shuffle()
        .prop_flat_map(|products| {
            let count = products.len();
            (Just(products), prop::collection::vec(1..6_i64, count))
        })
        .prop_map(|(products, quantities)| products.into_iter().zip(quantities).collect::<Vec<_>>());
    prop::collection::vec(
        (store, items).prop_map(|(store, items)| order(store, &items)),
        1..25,
    )
}

proptest! {
    #![proptest_config(Config { cases: 500, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() })]

    #[test]
    fn batch_is_decided_like_the_same_orders_one_by_one(rows in some_stock(), orders in some_orders()) {
        let (mut together, mut apart) = (stock(&rows), stock(&rows));
        let decisions = allocate(&mut together, &orders);
        let one_by_one: Vec<Decision> =
            orders.iter().flat_map(|order| allocate(&mut apart, std::slice::from_ref(order))).collect();
        prop_assert_eq!(decisions, one_by_one);
        prop_assert_eq!(quantities(&together), quantities(&apart));
    }

    #[test]
    fn each_decision_follows_from_the_stock_before_it(rows in some_stock(), orders in some_orders()) {
        let mut stock = stock(&rows);
        for order in &orders {
            let before = quantities(&stock);
            let decision = allocate(&mut stock, std::slice::from_ref(order)).remove(0);
            let after = quantities(&stock);
            prop_assert!(after.iter().all(|quantity| *quantity >= 0));
            let store = order.store_id;
            let found = |item: &NewItem| {
                let product = item.product_id;
                let index = stock.rows.iter().position(|row| (row.store_id, row.product_id) == (store, product));
                (product, item.quantity, index)
            };
            let asked: Vec<(i64, i64, Option<usize>)> = order.items.iter().map(found).collect();
            let unknown = |&(product, _, row): &(i64, i64, Option<usize>)| match row {
                Some(_) => product % 5 == 0,
                None => ![8, 9].contains(&product),
            };
            match decision {
                Decision::NoStore => prop_assert_eq!(store, 3),
                Decision::TotalTooLarge | Decision::Duplicate(_) | Decision::NotReserved(_) => prop_assert!(false, "{decision:?}"),
                Decision::Confirmed { allocations, total } => {
                    let mut expected = before;
                    let mut cost = Decimal::ZERO;
                    for (allocation, &(product, quantity, row)) in allocations.iter().zip(&asked) {
                        prop_assert_eq!((Some(allocation.row), i64::from(allocation.quantity)), (row, quantity));
                        expected[allocation.row] -= allocation.quantity;
                        prop_assert_eq!(allocation.remaining, expected[allocation.row]);
                        cost += Decimal::new(1000 + product, 2) * Decimal::from(quantity);
                    }
                    prop_assert_eq!(allocations.len(), asked.len());
                    prop_assert_eq!(after, expected);
                    prop_assert_eq!(total, Money(cost));
                }
                Decision::Rejected { reason, rejections } => {
                    prop_assert_eq!(&after, &before, "a rejected order takes nothing");
                    let absent = |&(_, _, row): &(i64, i64, Option<usize>)| row.is_none();
                    let available = |row: Option<usize>| row.map_or(0, |row| before[row]);
                    let (start, code, applies): (_, _, Vec<_>) = if asked.iter().any(unknown) {
                        ("Products not found or inactive: {", RejectionCode::ProductNotFound,
                            asked.iter().filter(|item| unknown(item)).collect())
                    } else if asked.iter().any(absent) {
                        ("Products not available in store: {", RejectionCode::NotInStore,
                            asked.iter().filter(|item| absent(item)).collect())
                    } else {
                        ("Insufficient stock: P", RejectionCode::InsufficientStock,
                            asked.iter().filter(|(_, quantity, row)| *quantity > i64::from(available(*row))).collect())
                    };
                    prop_assert!(!applies.is_empty());
                    prop_assert!(reason.starts_with(start), "{}", reason);
                    let expected: Vec<Rejection> = applies
                        .into_iter()
                        .map(|&(product, quantity, row)| Rejection {
                            product_id: product,
                            code,
                            requested: quantity,
                            available: if code == RejectionCode::InsufficientStock { available(row) } else { 0 },
                        })
                        .collect();
                    prop_assert_eq!(rejections, expected);
                }
            }
        }
    }
}
