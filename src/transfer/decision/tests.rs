//! Tests of the decisions.

use super::*;

/// Ten of product 1 and four of product 2, from store 1 to store 2.
fn draft() -> TransferState {
    let mut transfer = TransferState {
        id: 7,
        from_store_id: 1,
        to_store_id: 2,
        status: Status::Draft,
        reference: None,
        expected_at: None,
        version: 1,
        lines: Vec::new(),
    };
    transfer.set_items(&[(2, 4), (1, 10)]);
    transfer
}

fn shipped() -> TransferState {
    let mut transfer = draft();
    transfer.apply(&Action::Ship(None)).unwrap();
    transfer
}

fn receive(items: &[(i64, [i32; 3])], close: bool) -> Action {
    let receipt = |(product, [received, damaged, missing]): &(i64, [i32; 3])| {
        let receipt = Receipt {
            received: *received,
            damaged: *damaged,
            missing: *missing,
        };
        (*product, receipt)
    };
    Action::Receive {
        items: items.iter().map(receipt).collect(),
        close,
    }
}

fn cancel(items: &[(i64, [i32; 2])]) -> Action {
    let settlement = |(product, [returned, lost]): &(i64, [i32; 2])| {
        let settlement = Settlement {
            returned: *returned,
            lost: *lost,
        };
        (*product, settlement)
    };
    Action::Cancel(Some(items.iter().map(settlement).collect()))
}

/// Store, product and delta of moves.
fn moved(moves: &[Move]) -> Vec<(i64, i64, i32)> {
    moves
        .iter()
        .map(|moved| (moved.store_id, moved.product_id, moved.delta))
        .collect()
}

fn in_transit(transfer: &TransferState) -> Vec<i32> {
    transfer.lines.iter().map(Line::in_transit).collect()
}

/// The conflict that refuses an action.
fn conflict(transfer: &TransferState, action: &Action) -> StateConflict {
    match transfer.clone().apply(action) {
        Err(ApiError::StateConflict(conflict)) => *conflict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shipment_takes_all_or_the_named_units_and_drops_the_rest() {
    let mut transfer = draft();
    let moves = transfer.apply(&Action::Ship(None)).unwrap();
    assert_eq!(moved(&moves), [(1, 1, -10), (1, 2, -4)]);
    assert_eq!(
        (transfer.status, in_transit(&transfer)),
        (Status::InTransit, vec![10, 4])
    );
    let mut transfer = draft();
    let moves = transfer.apply(&Action::Ship(Some(vec![(2, 3)]))).unwrap();
    assert_eq!(moved(&moves), [(1, 2, -3)]);
    assert_eq!(in_transit(&transfer), [0, 3]);
    let more = conflict(&draft(), &Action::Ship(Some(vec![(2, 5), (1, 1)])));
    assert_eq!(more.code, ConflictCode::ExceedsQuantity);
    assert_eq!(
        more.items,
        Some(vec![ItemLeft::of_product(2, 4), ItemLeft::of_product(1, 10)])
    );
}

#[test]
fn receipts_add_up_until_nothing_is_in_transit() {
    let mut transfer = shipped();
    let moves = transfer
        .apply(&receive(&[(1, [6, 1, 0]), (2, [0, 0, 1])], false))
        .unwrap();
    assert_eq!(moved(&moves), [(2, 1, 6)]);
    assert_eq!(
        (transfer.status, in_transit(&transfer)),
        (Status::Partial, vec![3, 3])
    );
    let moves = transfer
        .apply(&receive(&[(1, [0, 3, 0]), (2, [3, 0, 0])], false))
        .unwrap();
    assert_eq!(moved(&moves), [(2, 1, 0), (2, 2, 3)]);
    assert_eq!(
        (transfer.status, in_transit(&transfer)),
        (Status::Received, vec![0, 0])
    );
}

#[test]
fn the_rest_of_a_closed_transfer_is_lost() {
    let mut transfer = shipped();
    transfer.apply(&receive(&[(1, [6, 0, 0])], true)).unwrap();
    let lost: Vec<i32> = transfer.lines.iter().map(|line| line.lost).collect();
    assert_eq!((transfer.status, lost), (Status::Received, vec![4, 4]));
}

#[test]
fn more_than_is_in_transit_is_refused_with_what_is() {
    let over = conflict(
        &shipped(),
        &receive(&[(1, [i32::MAX, i32::MAX, i32::MAX])], false),
    );
    assert_eq!(over.code, ConflictCode::OverReceipt);
    assert_eq!(over.items, Some(vec![ItemLeft::of_product(1, 10)]));
    assert!(shipped().apply(&receive(&[(9, [1, 0, 0])], false)).is_err());
}

#[test]
fn a_cancellation_settles_exactly_what_is_in_transit() {
    let mut transfer = shipped();
    transfer.apply(&receive(&[(1, [6, 0, 0])], false)).unwrap();
    for wrong in [
        cancel(&[(1, [4, 0])]),
        cancel(&[(1, [4, 1]), (2, [4, 0])]),
        cancel(&[(1, [i32::MAX, i32::MAX]), (2, [4, 0])]),
        cancel(&[(1, [4, 0]), (2, [4, 0]), (9, [1, 0])]),
        Action::Cancel(None),
    ] {
        assert!(transfer.clone().apply(&wrong).is_err(), "{wrong:?}");
    }
    let moves = transfer.apply(&cancel(&[(1, [3, 1]), (2, [0, 4])])).unwrap();
    assert_eq!(moved(&moves), [(1, 1, 3)]);
    assert_eq!(
        (transfer.status, in_transit(&transfer)),
        (Status::Cancelled, vec![0, 0])
    );
}

#[test]
fn a_draft_is_given_up_without_items() {
    assert!(draft().apply(&cancel(&[(1, [1, 0])])).is_err());
    let mut transfer = draft();
    assert_eq!(transfer.apply(&Action::Cancel(None)).unwrap(), []);
    assert_eq!(transfer.status, Status::Cancelled);
}

#[test]
fn a_status_permits_only_its_actions() {
    let change = Action::Change {
        items: None,
        reference: Nullable::Absent,
        expected_at: Nullable::Absent,
    };
    for (transfer, wrong) in [
        (draft(), vec![receive(&[(1, [1, 0, 0])], false)]),
        (shipped(), vec![Action::Ship(None), change]),
    ] {
        for action in wrong {
            let refused = conflict(&transfer, &action);
            assert_eq!(refused.code, ConflictCode::InvalidTransition);
            assert_eq!(refused.allowed.as_deref(), Some(transfer.status.allowed()));
        }
    }
}
