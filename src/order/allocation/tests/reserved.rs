//! Decisions about orders and reserved units.

use super::*;
use crate::order::{
    model::ReservationClaim,
    reservation::{ReservationStatus, placement::Named},
};

/// Stock of one product, and the reservations 1, 2, … with these numbers of units.
fn reserved(quantity: i32, units: &[i32]) -> Stock {
    let mut stock = stock(&[(STORE, 1, quantity)]);
    stock.rows[0].reserved = units.iter().sum();
    stock.reservations = Reservations::new((1..).zip(units).map(|(id, units)| {
        let named = Named {
            status: ReservationStatus::Active,
            order: None,
            items: [(1, *units)].into(),
        };
        (id, named)
    }));
    stock
}

fn claim(reservation: i64, quantity: i64, keep_rest: bool) -> NewOrder {
    let claim = ReservationClaim {
        id: reservation,
        product_ids: vec![1],
        keep_rest,
    };
    NewOrder {
        reservation: Some(Arc::new(claim)),
        ..order(STORE, &[(1, quantity)])
    }
}

#[test]
fn reserved_units_are_only_for_the_order_that_names_their_reservation() {
    let mut stock = reserved(5, &[3, 1]);
    let orders = [
        order(STORE, &[(1, 2)]),
        claim(1, 5, false),
        claim(1, 4, false),
        claim(1, 1, false),
        claim(3, 1, false),
        claim(2, 1, false),
        order(STORE, &[(1, 1)]),
    ];
    let decisions = allocate(&mut stock, &orders);
    assert_eq!(
        reason(&decisions[0]),
        "Insufficient stock: P1: requested 2, available 1"
    );
    assert_eq!(
        reason(&decisions[1]),
        "Insufficient stock: P1: requested 5, available 4"
    );
    assert!(
        matches!(decisions[2], Decision::Confirmed { .. }),
        "one more than is reserved"
    );
    let ended = ClaimRefusal::Ended(ReservationStatus::Consumed, Some(Holder::InBatch(2)));
    assert_eq!(decisions[3], Decision::NotReserved(ended));
    assert_eq!(decisions[4], Decision::NotReserved(ClaimRefusal::Unknown));
    assert!(
        matches!(decisions[5], Decision::Confirmed { .. }),
        "the last unit is reserved for it"
    );
    assert_eq!(
        reason(&decisions[6]),
        "Insufficient stock: P1: requested 1, available 0"
    );
    assert_eq!((stock.rows[0].quantity, stock.rows[0].reserved), (0, 0));
}

#[test]
fn what_an_order_leaves_of_its_reservation_is_released_unless_it_is_kept() {
    for keep_rest in [false, true] {
        let mut stock = reserved(5, &[3]);
        let decisions = allocate(&mut stock, &[claim(1, 1, keep_rest), claim(1, 2, keep_rest)]);
        assert_eq!(matches!(decisions[1], Decision::Confirmed { .. }), keep_rest);
        assert_eq!(stock.rows[0].quantity, if keep_rest { 2 } else { 4 });
        assert_eq!(stock.rows[0].reserved, 0);
    }
}
