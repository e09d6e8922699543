//! `/api/inventory/{id}/movements/`: the ledger of a stock row, and changes of its quantity that give a reason.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use utoipa::ToSchema;

use super::{
    queries::{get, lock, subject},
    routes::granted,
};
use crate::{
    audit,
    auth::Stores,
    http::{
        ApiError, Body, Caller, Fields, IdempotencyKey, Invalid, InvalidParameter, ListParams, ListRequest,
        Listed, Listing, NotFound, Presence, RecordId, Slice, integer, one_of, text,
    },
    ledger::{self, Change},
    timestamp::Timestamp,
};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 200;

/// Movements that are counted at a time.
const PORTION: i64 = 100_000;

/// A change of a stock row's quantity, as the ledger has it.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    id: i64,
    inventory_id: i64,
    /// `INITIAL`, `ORDER`, `ADJUSTMENT`, `RETURN` or `REMOVAL`.
    kind: String,
    /// Pieces that came, or went where it is negative.
    delta: i32,
    /// What there was then.
    quantity_after: i32,
    /// The order that it was for.
    #[schema(required = true)]
    order_id: Option<i64>,
    /// Who made it: `key:12` or `account:3`; null if anyone could.
    #[schema(required = true)]
    actor: Option<String>,
    /// What they said about it.
    #[schema(required = true)]
    reason: Option<String>,
    created_at: Timestamp,
}

impl Listed for Movement {
    /// The id, downwards.
    type Key = i64;

    const LIST: &'static str = "movements";
    const START: i64 = i64::MAX;

    fn key(&self) -> i64 {
        self.id
    }
}

/// A change of a quantity that is asked for.
#[derive(Clone, Debug, ToSchema)]
pub struct NewMovement {
    /// What to do with the quantity.
    #[schema(value_type = String)]
    kind: Kind,
    /// Pieces that come, go, or are there.
    #[schema(minimum = 0)]
    quantity: i32,
    /// What it is for.
    #[schema(max_length = 200)]
    reason: String,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Pieces come.
    Add,
    /// Pieces go.
    Remove,
    /// So many there are.
    Count,
}

impl NewMovement {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let kinds = [
            ("add", Kind::Add),
            ("remove", Kind::Remove),
            ("count", Kind::Count),
        ];
        let kind = fields.required("kind", one_of(kinds));
        let quantity = fields.required("quantity", integer);
        let reason = fields.required("reason", text(LONGEST_REASON));
        Some(Self {
            kind: kind?,
            quantity: quantity?,
            reason: reason?,
        })
    }

    /// What there is afterwards, of what there is now.
    fn apply(&self, now: i32) -> Result<i32, ApiError> {
        match self.kind {
            Kind::Count => Ok(self.quantity),
            Kind::Remove if self.quantity > now => Err(ApiError::field(
                "quantity",
                format!("Ensure this value is less than or equal to {now}, which is what there is."),
            )),
            Kind::Remove => Ok(now - self.quantity),
            Kind::Add => now.checked_add(self.quantity).ok_or_else(|| {
                let most = i32::MAX - now;
                ApiError::field(
                    "quantity",
                    format!("Ensure this value is less than or equal to {most}."),
                )
            }),
        }
    }
}

/// The ledger of a stock row, the latest movement first.
#[utoipa::path(get, path = "/api/inventory/{id}/movements/", tag = "Inventory", operation_id = "movements", params(("id" = i64, Path), ListParams),
    responses((status = 200, body = Listing<Movement>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
pub(super) async fn list(
    State(db): State<PgPool>,
    stores: Stores,
    RecordId(id): RecordId,
    list: ListRequest<Movement>,
) -> Result<Json<Listing<Movement>>, ApiError> {
    granted(&db, &stores, id).await?;
    let slice = list.slice(count(&db, id)).await?;
    let rows = select(&db, id, &slice).await?;
    Ok(Json(list.answer(&slice, rows)))
}

/// Change a quantity by so many pieces, or to what was counted, and say why.
#[utoipa::path(post, path = "/api/inventory/{id}/movements/", tag = "Inventory", operation_id = "move", params(("id" = i64, Path)), request_body = NewMovement,
    responses((status = 201, body = Movement), (status = 400, response = Invalid), (status = 404, response = NotFound)))]
pub(super) async fn create(
    State(db): State<PgPool>,
    caller: Caller,
    RecordId(id): RecordId,
    once: IdempotencyKey,
    body: Body,
) -> Result<(StatusCode, Json<Movement>), ApiError> {
    granted(&db, &caller.grant.stores, id).await?;
    let mut fields = body.fields(Presence::Complete)?;
    let sent = NewMovement::read(&mut fields);
    let sent = fields.finish_all(sent)?;
    let mut tx = db.begin().await?;
    let movement = insert(&mut tx, id, &sent, &caller).await?;
    once.commit(tx, StatusCode::CREATED, movement).await
}

/// Counts the movements of a row, a portion at a time: what is a whole portion is noted, and never counted again.
async fn count(db: &PgPool, inventory: i64) -> sqlx::Result<i64> {
    let noted = sqlx::query!(
        "select latest, movements from movement_count where inventory_id = $1",
        inventory
    )
    .fetch_optional(db)
    .await?;
    let (mut latest, mut movements) = noted.map_or((0, 0), |noted| (noted.latest, noted.movements));
    loop {
        let portion = sqlx::query!(
            r#"select count(*) as "movements!", max(id) as latest from (
                   select id from stock_movement where inventory_id = $1 and id > $2 order by id limit $3
               ) portion"#,
            inventory,
            latest,
            PORTION
        )
        .fetch_one(db)
        .await?;
        movements += portion.movements;
        let Some(end) = portion.latest.filter(|_| portion.movements == PORTION) else {
            return Ok(movements);
        };
        latest = end;
        if let Err(error) = note(db, inventory, latest, movements).await {
            // The next one counts it once more.
            tracing::debug!(%error, "the number of movements could not be noted");
        }
    }
}

/// Notes how many movements of a row there are up to one of them. Of several that count, the one that got further stands.
async fn note(db: &PgPool, inventory: i64, latest: i64, movements: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into movement_count as noted (inventory_id, latest, movements) values ($1, $2, $3)
         on conflict (inventory_id) do update set latest = excluded.latest, movements = excluded.movements
         where noted.latest < excluded.latest",
        inventory,
        latest,
        movements
    )
    .execute(db)
    .await
    .map(drop)
}

async fn select(
    db: impl PgExecutor<'_>,
    inventory: i64,
    slice: &Slice<Movement>,
) -> sqlx::Result<Vec<Movement>> {
    sqlx::query_as!(
        Movement,
        r#"select id, inventory_id, kind, delta, quantity_after, order_id, actor, reason,
               created_at as "created_at: Timestamp"
           from stock_movement where inventory_id = $1 and id < $2 order by id desc limit $3 offset $4"#,
        inventory,
        slice.after,
        slice.limit,
        slice.offset
    )
    .fetch_all(db)
    .await
}

/// Changes the quantity under the row's lock.
async fn insert(
    tx: &mut PgConnection,
    id: i64,
    sent: &NewMovement,
    caller: &Caller,
) -> Result<Movement, ApiError> {
    const GONE: ApiError = ApiError::NotFound("Inventory");
    let by = caller.audit_context();
    let before = lock(tx, id, &caller.grant.stores).await?.ok_or(GONE)?;
    let quantity = sent.apply(before.quantity)?;
    sqlx::query!(
        "update inventory set quantity = $2, updated_at = now() where id = $1",
        id,
        quantity
    )
    .execute(&mut *tx)
    .await?;
    let change = Change {
        movement: ledger::Movement::Adjustment,
        delta: quantity - before.quantity,
        quantity_after: quantity,
        actor: by.actor.label(),
        reason: Some(&sent.reason),
    };
    ledger::record(&mut *tx, id, change).await?;
    let after = get(&mut *tx, id).await?;
    audit::record(
        &mut *tx,
        &by,
        "stock.changed",
        subject(id),
        (Some(&before), after.as_ref()),
    )
    .await?;
    let latest = Slice::first(1);
    select(tx, id, &latest).await?.pop().ok_or(GONE)
}
