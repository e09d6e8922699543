//! The audit at the end of a scenario: compares the responses that clients got with the database.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, sleep};

use super::{
    program::Program,
    results::{Order, Outcome, Results},
    table::Row,
    until,
    world::World,
};
use crate::support::{
    books::books_balance,
    program::{afforo, run},
};

/// The log message for a sent confirmation.
const SENT: &str = "order confirmation sent";

/// How the confirmation of a lost job is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The lease expires by itself.
    ByLease,
    /// The test ends the lease, to save time.
    Expedited,
}

/// Waits until no transaction is open and no confirmation is due, stops the programs, and checks all guarantees.
/// `hits` counts how often the fault occurred.
pub async fn settle(
    world: &World,
    results: &Results,
    programs: &mut [Program],
    hits: usize,
    recovery: Recovery,
) {
    let output = end(world, results, programs, recovery).await;
    let (lost, doubled) = compare(results, &Placed::all(&world.pool).await);
    Row {
        hits,
        requests: results.requests.load(Ordering::Relaxed),
        lost,
        doubled: doubled + sent_again(&output),
    }
    .enter(world.name);
}

/// As [`settle`], without the comparison of the orders. Returns the output of the programs.
pub async fn end(world: &World, results: &Results, programs: &mut [Program], recovery: Recovery) -> String {
    no_transaction_stays_open(&world.pool).await;
    let (mut left, mut since) = (i64::MAX, Instant::now());
    until("no confirmation is due", async || {
        let owed = owed(&world.pool).await;
        if owed < left {
            (left, since) = (owed, Instant::now());
        } else if recovery == Recovery::Expedited && since.elapsed() > Duration::from_secs(1) {
            // No worker makes progress: the remaining rows wait for the end of a lease.
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
    let output: String = programs.iter().map(|program| program.output() + "\n").collect();
    assert!(!output.contains("panicked"), "{output}");
    assert!(!output.contains("a request failed"), "{output}");
    for (status, times) in results.statuses() {
        assert!(status < 500 || status == 503, "{times} times {status}:\n{output}");
    }

    let mut check = afforo(&["check"]);
    let checked = run(check.env("DATABASE_URL", world.postgres.url("shop"))).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    books_balance(&world.pool).await;
    output
}

/// PostgreSQL ends an abandoned transaction after half a minute. The shorter deadline here detects one before that.
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

/// Counts the outbox rows and the deliveries that are due.
pub async fn owed(pool: &PgPool) -> i64 {
    let owed =
        "select (select count(*) from outbox) + (select count(*) from delivery where delivered_at is null)";
    sqlx::query_scalar(owed).fetch_one(pool).await.unwrap()
}

/// An order in the database.
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

/// Counts lost orders (acknowledged, but absent or different in the database) and doubled ones (in the database, but
/// never placed, or more often than they were sent).
fn compare(results: &Results, placed: &[Placed]) -> (usize, usize) {
    let by_id: HashMap<i64, &Placed> = placed.iter().map(|placed| (placed.id, placed)).collect();
    let mut sent = HashMap::new();
    let (mut lost, mut doubled) = (0, 0);
    let mut acknowledged = HashSet::new();
    for (order, outcome) in results.sent() {
        let is_there = match outcome {
            Outcome::Confirmed(id) => by_id.get(&id).is_some_and(|placed| {
                placed.status == "CONFIRMED" && placed.confirmations == 1 && placed.order() == order
            }),
            Outcome::Rejected(id) => by_id
                .get(&id)
                .is_some_and(|placed| placed.status == "REJECTED" && placed.confirmations == 0),
            Outcome::Refused | Outcome::Unknown => true,
        };
        if !is_there {
            println!("lost: {order:?}, {outcome:?}");
            lost += 1;
        }
        if let Outcome::Confirmed(id) | Outcome::Rejected(id) = outcome
            && !acknowledged.insert(id)
        {
            println!("two answers for order {id}");
            doubled += 1;
        }
        let before = sent.insert(order, outcome);
        assert!(before.is_none(), "all orders differ");
    }
    let mut seen = HashSet::new();
    for placed in placed.iter().filter(|placed| placed.status == "CONFIRMED") {
        let order = placed.order();
        let outcome = sent
            .get(&order)
            .unwrap_or_else(|| panic!("no client sent {order:?}"));
        let fits = match outcome {
            Outcome::Confirmed(id) => *id == placed.id,
            Outcome::Rejected(_) | Outcome::Refused => false,
            Outcome::Unknown => true,
        };
        if !seen.insert(order) || !fits {
            println!("doubled: order {} beside {outcome:?}", placed.id);
            doubled += 1;
        }
    }
    // The database does not store the items of a rejected order.
    let rejected = placed.iter().filter(|placed| placed.status == "REJECTED");
    let surplus = rejected
        .filter(|placed| !acknowledged.contains(&placed.id))
        .count();
    let unanswered = sent
        .values()
        .filter(|outcome| **outcome == Outcome::Unknown)
        .count();
    (lost, doubled + surplus.saturating_sub(unanswered))
}

/// Counts the confirmations that were sent again.
fn sent_again(output: &str) -> usize {
    let mut orders = HashSet::new();
    let sent = output.lines().filter(|line| line.contains(SENT));
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
