//! The commands that make, extend and release reservations.

use std::slice;

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    model::{Reservation, ended, not_found},
    queries::{self, Facts, Locked, RowUnits},
    request::{Extension, NewReservation, Release},
    status::ReservationStatus,
};
use crate::{
    http::{
        Answered, ApiError, CommandContext, ConflictCode, Decided, Document, FieldSource, ItemLeft, Presence,
        StateConflict, carry_out,
    },
    ledger::{Recorded, RowKey, StockRow},
    order::{
        allocation::{Decision, allocate},
        model::{NewItem, NewOrder, REPEATED, Rejection, RejectionCode},
    },
    product::item::{self, ProductUnits},
};

/// How many active reservations a caller may have in a store.
const MOST_ACTIVE: i64 = 10_000;

/// A new reservation, or why it was refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Reserved {
    /// The reservation.
    Made(Reservation),
    /// Nothing was reserved.
    Refused(Shortage),
}

/// Why units cannot be reserved.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shortage {
    /// The reason as a sentence.
    detail: String,
    /// The reason.
    code: RejectionCode,
    /// The items that are not available.
    rejections: Vec<Rejection>,
}

/// A new reservation and its stock rows.
struct Reserve {
    new: NewReservation,
    keys: Vec<RowKey>,
    /// As an order would name them.
    order: NewOrder,
    holder: String,
}

/// Reserves units for a time: all of the items, or nothing.
pub async fn create(
    context: &CommandContext,
    source: &impl FieldSource,
) -> Result<Answered<Reserved>, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewReservation::read(&mut fields);
    let mut new = fields.finish_all(read)?;
    item::resolve(
        context.reads(),
        new.items.iter_mut().map(ProductUnits::named),
        REPEATED,
    )
    .await?;
    if !context.caller.grant.stores.contains(new.store_id) {
        return Err(no_store(new.store_id));
    }
    let order = NewOrder::new(new.store_id, new.items.iter().filter_map(new_item).collect());
    let address = || context.caller.address.map(|address| address.to_string());
    let holder = context.audit_context().actor.label().or_else(address);
    let reserve = Reserve {
        keys: order
            .pairs()
            .map(|(store, product)| RowKey::Pair(store, product))
            .collect(),
        order,
        holder: holder.unwrap_or_default(),
        new,
    };
    carry_out(context, &reserve).await
}

fn new_item(item: &ProductUnits) -> Option<NewItem> {
    Some(NewItem {
        product_id: item.product_id?,
        quantity: item.quantity,
        price: None,
    })
}

fn no_store(id: i64) -> ApiError {
    ApiError::field("store_id", format!("Store {id} not found or inactive"))
}

impl Document for Reserve {
    type Facts = Facts;
    /// The units to take, or why they cannot be taken.
    type Decision = Result<Vec<RowUnits>, Shortage>;
    type Answer = Reserved;

    fn kind(&self) -> &'static str {
        "reservation"
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Facts, ApiError> {
        let products: Vec<i64> = self.order.items.iter().map(|item| item.product_id).collect();
        Ok(queries::facts(tx, self.new.store_id, &products, (&self.holder, MOST_ACTIVE)).await?)
    }

    /// Reserves what an order would take now.
    fn decide(&self, rows: &[StockRow], facts: &Facts) -> Result<Decided<'_, Self::Decision>, ApiError> {
        if !facts.is_upgraded {
            return Err(StateConflict::upgrade_in_progress().into());
        }
        if facts.active >= MOST_ACTIVE {
            let message = format!("You have {MOST_ACTIVE} active reservations in this store.");
            return Err(ApiError::detail(StatusCode::TOO_MANY_REQUESTS, message));
        }
        let mut stock = facts.stock(rows);
        let decision = allocate(&mut stock, slice::from_ref(&self.order)).pop();
        let (status, decision) = match decision {
            Some(Decision::Confirmed { allocations, .. }) => {
                let taken = allocations.iter().map(|taken| RowUnits {
                    inventory_id: stock.rows[taken.row].id,
                    product_id: stock.rows[taken.row].product_id,
                    units: taken.quantity,
                });
                (StatusCode::CREATED, Ok(taken.collect()))
            }
            Some(Decision::Rejected { reason, rejections }) => {
                // All of them have the same.
                let code = rejections
                    .first()
                    .map_or(RejectionCode::InsufficientStock, |first| first.code);
                let shortage = Shortage {
                    detail: reason,
                    code,
                    rejections,
                };
                (StatusCode::CONFLICT, Err(shortage))
            }
            Some(Decision::TotalTooLarge) => {
                let message = "Ensure that the order total has no more than 12 digits.";
                return Err(ApiError::field("items", message));
            }
            _ => return Err(no_store(self.new.store_id)),
        };
        Ok(Decided {
            status,
            changes: Vec::new(),
            decision,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        decision: Self::Decision,
        _recorded: &[Option<Recorded>],
    ) -> Result<Reserved, ApiError> {
        let items = match decision {
            Ok(items) => items,
            Err(shortage) => return Ok(Reserved::Refused(shortage)),
        };
        let actor = context.audit_context().actor;
        let id = queries::insert(tx, &self.new, &self.holder, &actor, &items).await?;
        let made = queries::get(&mut *tx, id).await?.ok_or_else(not_found)?;
        context
            .record(tx, "reservation.created", id, (None, Some(&made)))
            .await?;
        Ok(Reserved::Made(made))
    }
}

/// A change of a reservation, and its stock rows.
struct ChangeReservation {
    id: i64,
    keys: Vec<RowKey>,
    change: Change,
}

enum Change {
    Extend(Extension),
    Release(Release),
}

/// Sets the time at which a reservation expires.
pub async fn extend(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Reservation>, ApiError> {
    let reservation = granted(context, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = Extension::read(&mut fields);
    let extension = fields.finish_all(read)?;
    change(context, &reservation, Change::Extend(extension)).await
}

/// Releases units of a reservation, or all of them.
pub async fn release(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Reservation>, ApiError> {
    let reservation = granted(context, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = Release::read(&mut fields);
    let mut release = fields.finish(read)?;
    let items = release.items.iter_mut().flatten();
    item::resolve(context.reads(), items.map(ProductUnits::named), REPEATED).await?;
    change(context, &reservation, Change::Release(release)).await
}

/// A reservation that the caller may see.
pub async fn granted(context: &CommandContext, id: i64) -> Result<Reservation, ApiError> {
    let found = queries::get(context.reads(), id).await?;
    let found = found.filter(|reservation| context.caller.grant.stores.contains(reservation.store_id));
    Ok(found.ok_or_else(not_found)?)
}

/// Carries out a change under the locks of all stock rows of the reservation, which never change.
async fn change(
    context: &CommandContext,
    reservation: &Reservation,
    change: Change,
) -> Result<Answered<Reservation>, ApiError> {
    let rows = reservation.items.iter();
    let document = ChangeReservation {
        id: reservation.id,
        keys: rows
            .map(|item| RowKey::Pair(reservation.store_id, item.product_id))
            .collect(),
        change,
    };
    carry_out(context, &document).await
}

impl Release {
    /// The units to free. Each item names a product of the reservation, and no more than is left of it.
    fn decide(&self, locked: &Locked) -> Result<Vec<RowUnits>, ApiError> {
        let Some(items) = &self.items else {
            return Ok(locked.items.clone());
        };
        let mut freed = Vec::new();
        let mut left = Vec::new();
        for item in items {
            let product_id = item.product_id.unwrap_or_default();
            let Some(row) = locked.items.iter().find(|row| row.product_id == product_id) else {
                let message = format!("The reservation has no product \"{product_id}\".");
                return Err(ApiError::field("items", message));
            };
            match i32::try_from(item.quantity)
                .ok()
                .filter(|units| *units <= row.units)
            {
                Some(units) => freed.push(RowUnits { units, ..*row }),
                None => left.push(ItemLeft::of_product(product_id, row.units)),
            }
        }
        if left.is_empty() {
            return Ok(freed);
        }
        let detail = "Fewer units are reserved.";
        Err(StateConflict {
            items: Some(left),
            ..StateConflict::new(ConflictCode::ExceedsQuantity, detail)
        }
        .into())
    }
}

impl Document for ChangeReservation {
    type Facts = Option<Locked>;
    /// The units to free, and whether they are all that is left.
    type Decision = (Vec<RowUnits>, bool);
    type Answer = Reservation;

    fn kind(&self) -> &'static str {
        match self.change {
            Change::Extend(_) => "reservation_extension",
            Change::Release(_) => "reservation_release",
        }
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Option<Locked>, ApiError> {
        Ok(queries::lock(tx, self.id).await?)
    }

    fn decide(
        &self,
        _rows: &[StockRow],
        locked: &Option<Locked>,
    ) -> Result<Decided<'_, Self::Decision>, ApiError> {
        let locked = locked.as_ref().ok_or_else(not_found)?;
        if locked.status != ReservationStatus::Active {
            return Err(ended(locked.status, locked.order_id).into());
        }
        let freed = match &self.change {
            Change::Extend(_) => Vec::new(),
            Change::Release(release) => release.decide(locked)?,
        };
        let sum = |items: &[RowUnits]| items.iter().map(|item| i64::from(item.units)).sum::<i64>();
        let is_all = sum(&freed) == sum(&locked.items);
        Ok(Decided {
            status: StatusCode::OK,
            changes: Vec::new(),
            decision: (freed, is_all),
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        (freed, is_all): Self::Decision,
        _recorded: &[Option<Recorded>],
    ) -> Result<Reservation, ApiError> {
        let before = queries::get(&mut *tx, self.id).await?.ok_or_else(not_found)?;
        let action = match &self.change {
            Change::Extend(to) => {
                queries::extend(tx, self.id, to.ttl_seconds, to.shorten).await?;
                "reservation.extended"
            }
            Change::Release(_) => {
                queries::release(tx, self.id, &freed, is_all).await?;
                "reservation.released"
            }
        };
        let after = queries::get(&mut *tx, self.id).await?.ok_or_else(not_found)?;
        let states = (Some(&before), Some(&after));
        context.record(tx, action, self.id, states).await?;
        Ok(after)
    }
}
