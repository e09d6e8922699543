//! The reckoning at the end of a scenario: what the clients were told against what is in the database.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, sleep};

use super::{
    program::Program,
    table::Row,
    truth::{Known, Order, Truth},
    until,
    world::World,
};
use crate::support::{
    books::books_balance,
    program::{afforo, run},
};

/// What the log says of an order whose confirmation went out.
const SENT: &str = "order confirmation sent";

/// How a confirmation comes back whose job was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// By itself, when its lease has run out.
    Unaided,
    /// At once: its lease is ended by hand, to save the time.
    Hurried,
}

/// Waits until nothing is under way and nothing is owed, stops the programs, and checks everything that is promised. The
/// fault has hit so often.
pub async fn settle(world: &World, truth: &Truth, programs: &mut [Program], hits: usize, recovery: Recovery) {
    no_transaction_stays_open(&world.pool).await;
    let (mut left, mut since) = (i64::MAX, Instant::now());
    until("nothing is owed any more", async || {
        let owed = owed(&world.pool).await;
        if owed < left {
            (left, since) = (owed, Instant::now());
        } else if recovery == Recovery::Hurried && since.elapsed() > Duration::from_secs(1) {
            // Nobody is at it: what is left waits for the end of a lease.
            for table in ["outbox", "delivery"] {
                let due = AssertSqlSafe(format!("update {table} set due_at = now() where due_at > now()"));
                sqlx::query(due).execute(&world.pool).await.unwrap();
            }
            since = Instant::now();
        }
        owed == 0
    })
    .await;
    no_transaction_stays_open(&world.pool).await;
    for program in &mut *programs {
        program.stop().await;
    }
    let said: String = programs.iter().map(|program| program.said() + "\n").collect();
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.contains("a request failed"), "{said}");
    for (status, times) in truth.statuses() {
        assert!(status < 500 || status == 503, "{times} times {status}:\n{said}");
    }

    let mut check = afforo(&["check"]);
    let checked = run(check.env("DATABASE_URL", world.postgres.url("shop"))).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    books_balance(&world.pool).await;

    let (lost, doubled) = compare(truth, &Placed::all(&world.pool).await);
    Row {
        hits,
        requests: truth.requests.load(Ordering::Relaxed),
        lost,
        doubled: doubled + sent_again(&said),
    }
    .enter(world.name);
}

/// One that was forgotten would be ended by PostgreSQL after half a minute, so this does not wait for long.
async fn no_transaction_stays_open(pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let open: Vec<String> = sqlx::query_scalar(
            "select format('%s for %s: %s', state, now() - state_change, query) from pg_stat_activity
             where state like 'idle in transaction%' and now() - state_change > interval '2 s'",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        if open.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "transactions stay open: {open:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// How many rows wait for the confirmations of their orders, or to be told of outside.
pub async fn owed(pool: &PgPool) -> i64 {
    let owed =
        "select (select count(*) from outbox) + (select count(*) from delivery where delivered_at is null)";
    sqlx::query_scalar(owed).fetch_one(pool).await.unwrap()
}

/// An order as the database has it.
#[derive(sqlx::FromRow)]
struct Placed {
    id: i64,
    store: i64,
    status: String,
    products: Vec<i64>,
    quantities: Vec<i64>,
    confirmations: i64,
}

impl Placed {
    async fn all(pool: &PgPool) -> Vec<Self> {
        sqlx::query_as(
            "select o.id, o.store_id as store, o.status,
                 array(select product_id from order_item i where i.order_id = o.id order by i.id) as products,
                 array(select quantity::bigint from order_item i where i.order_id = o.id order by i.id) as quantities,
                 (select count(*) from order_confirmation c where c.order_id = o.id) as confirmations
             from orders o",
        )
        .fetch_all(pool)
        .await
        .unwrap()
    }

    fn order(&self) -> Order {
        Order {
            store: self.store,
            items: self
                .products
                .iter()
                .copied()
                .zip(self.quantities.iter().copied())
                .collect(),
        }
    }
}

/// How many orders were acknowledged and are not there as they were acknowledged, and how many are there that should not be,
/// or more often than they were sent.
fn compare(truth: &Truth, placed: &[Placed]) -> (usize, usize) {
    let by_id: HashMap<i64, &Placed> = placed.iter().map(|placed| (placed.id, placed)).collect();
    let mut sent = HashMap::new();
    let (mut lost, mut doubled) = (0, 0);
    let mut acknowledged = HashSet::new();
    for (order, known) in truth.sent() {
        let is_there = match known {
            Known::Confirmed(id) => by_id.get(&id).is_some_and(|placed| {
                placed.status == "CONFIRMED" && placed.confirmations == 1 && placed.order() == order
            }),
            Known::Rejected(id) => by_id
                .get(&id)
                .is_some_and(|placed| placed.status == "REJECTED" && placed.confirmations == 0),
            Known::Refused | Known::Nothing => true,
        };
        if !is_there {
            println!("lost: {order:?}, {known:?}");
            lost += 1;
        }
        if let Known::Confirmed(id) | Known::Rejected(id) = known
            && !acknowledged.insert(id)
        {
            println!("two answers for order {id}");
            doubled += 1;
        }
        let before = sent.insert(order, known);
        assert!(before.is_none(), "no two orders are alike");
    }
    let mut seen = HashSet::new();
    for placed in placed.iter().filter(|placed| placed.status == "CONFIRMED") {
        let order = placed.order();
        let known = sent
            .get(&order)
            .unwrap_or_else(|| panic!("nobody sent {order:?}"));
        let fits = match known {
            Known::Confirmed(id) => *id == placed.id,
            Known::Rejected(_) | Known::Refused => false,
            Known::Nothing => true,
        };
        if !seen.insert(order) || !fits {
            println!("doubled: order {} beside {known:?}", placed.id);
            doubled += 1;
        }
    }
    // Of a rejected order the database does not keep what was asked for.
    let rejected = placed.iter().filter(|placed| placed.status == "REJECTED");
    let surplus = rejected
        .filter(|placed| !acknowledged.contains(&placed.id))
        .count();
    let unanswered = sent.values().filter(|known| **known == Known::Nothing).count();
    (lost, doubled + surplus.saturating_sub(unanswered))
}

/// How many confirmations went out for orders whose confirmation had gone out already.
fn sent_again(said: &str) -> usize {
    let mut orders = HashSet::new();
    let sent = said.lines().filter(|line| line.contains(SENT));
    let ids = sent.map(|line| {
        line.split_once("order_id=")
            .expect(line)
            .1
            .split(' ')
            .next()
            .unwrap()
    });
    ids.filter(|id| !orders.insert(id.to_owned())).count()
}
