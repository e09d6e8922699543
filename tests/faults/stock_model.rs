//! Random orders and documents about them, movements, adjustments, changes of quantities, transfers and stock counts on few rows, while servers are killed. The ledger must be
//! the result of the documents one after the other, as a model in memory says, and each client must have been told so.

mod counting;
mod model;
mod replay;
mod reserving;
mod snapshots;
mod told;
mod transferring;

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
};

use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use tokio::time::sleep;

use self::{
    model::{Change, Document, Kind, Placed, ROWS, Refusal, Reversible, Shop, Transit},
    replay::{Sent, replay},
    told::{Told, told},
};
use crate::{
    kit::{
        audit::{Recovery, end},
        clients::{Clients, RETRY_DELAY, short_pause},
        dice::size,
        program::Program,
        table::Row,
        until,
        world::{Disk, World},
    },
    support::{
        app::Answer,
        books::no_deadlocks,
        program::{afforo, run},
    },
};

const CLIENTS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_documents_take_effect_one_after_the_other_despite_kills() {
    let mut world = World::new("random documents", Disk::Volatile).await;
    let (count, kills) = (size(600, 10_000), size(3, 20));
    let mut programs = [
        Program::server(&["--with-worker"], &world.env()).await,
        Program::server(&[], &world.env()).await,
    ];
    let mut complete = afforo(&["migrate", "--complete"]);
    let completed = run(complete.env("DATABASE_URL", world.postgres.url("shop"))).await;
    assert_eq!(completed.code, Some(0), "{}", completed.err);
    let clients = Clients::new();
    let session = Session {
        servers: programs.each_ref().map(|program| program.address),
        shop: shop(&world).await,
        seed: world.rng.random(),
        clients: clients.clone(),
        next: AtomicUsize::new(0),
        count,
        seen: Default::default(),
        sent: Mutex::default(),
        reversible: Mutex::default(),
        orders: Mutex::default(),
        in_transit: Mutex::default(),
        predicted: AtomicUsize::new(0),
        repeated: AtomicUsize::new(0),
    };
    let is_over = AtomicBool::new(false);
    let working = async {
        join_all((0..CLIENTS).map(|client| session.work(client))).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (rng, victims, results) = (&mut world.rng, &mut programs, &clients.results);
    let killing = async {
        for kill in 1..=kills {
            until("documents are answered", async || {
                session.sent.lock().unwrap().len() >= count * kill / (kills + 1)
            })
            .await;
            short_pause(rng, 20).await;
            let cut = results.cut();
            victims[kill % 2].kill().await;
            until("clients are cut off", async || results.cut() > cut).await;
            victims[kill % 2].restart().await;
        }
    };
    let ((), (), snapshots) = tokio::join!(working, killing, snapshots::hold_until(&world.pool, &is_over));

    let mut sent = session.sent.into_inner().unwrap();
    assert_eq!(sent.len(), count);
    let counted = counting::settle(&world.pool, &session.shop, &mut sent).await;
    let replayed = replay(&world.pool, &session.shop, &sent).await;
    for kind in [
        Kind::Order,
        Kind::Movement,
        Kind::Adjustment,
        Kind::Reversal,
        Kind::Patch,
        Kind::Cancellation,
        Kind::Fulfillment,
        Kind::Return,
        Kind::Shipment,
        Kind::Receipt,
        Kind::TransferCancellation,
        Kind::TransferAtOnce,
        Kind::StockCount,
    ] {
        assert!(
            replayed.effective.contains_key(&kind),
            "{kind:?} had an effect: {replayed:?}"
        );
    }
    for refusal in [Refusal::Stale, Refusal::Insufficient] {
        assert!(
            replayed.refused.contains_key(&refusal),
            "{refusal:?} occurred: {replayed:?}"
        );
    }
    let ended = reserving::ended(&world.pool, count > 1000).await;
    let (predicted, repeated) = (session.predicted.into_inner(), session.repeated.into_inner());
    assert!(snapshots > 0 && predicted > 0 && repeated > 0);
    println!(
        "{replayed:?}, reservations {ended:?}, lines of stock counts {counted:?}, {predicted} dry runs, {repeated} repetitions, {snapshots} snapshots"
    );
    let output = end(&world, &clients.results, &mut programs, Recovery::Expedited).await;
    assert!(!output.contains("deadlock"), "{output}");
    no_deadlocks(&world.postgres.url("shop")).await;
    Row {
        hits: kills,
        requests: clients.results.requests.load(Ordering::Relaxed),
        ..Row::default()
    }
    .enter(world.name);
}

fn status(answer: &Answer) -> Option<&str> {
    answer.body["status"].as_str()
}

/// The movements of an adjustment.
fn movements(document: &Document, answer: &Answer) -> Vec<Reversible> {
    let results = answer.body["results"].as_array().unwrap();
    let movements = document.steps.iter().zip(results).filter_map(|(step, result)| {
        let quantity = |name: &str| i32::try_from(result[name].as_i64()?).ok();
        Some(Reversible {
            id: result["movement_id"].as_i64()?,
            row: step.row,
            delta: quantity("quantity_after")? - quantity("quantity_before")?,
        })
    });
    movements.collect()
}

/// Two stores with the same two products, which have SKUs.
async fn shop(world: &World) -> Shop {
    let (store, products) = world.stock(2, 200).await;
    let (other, skus): (i64, Vec<String>) = sqlx::query_as(
        "with code as (
             insert into product_code (code, product_id, kind)
             select 'LAMP-' || p, p, 'SKU' from unnest($1::bigint[]) p returning code, product_id
         ), other as (
             insert into store (name, location, fulfillment) values ('Other Store', 'Main Street 2', 'TRACKED') returning id
         )
         select other.id, array(select code from code order by product_id) from other",
    )
    .bind(&products)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    world.stock_store(other, &products, 200).await;
    let rows = sqlx::query_scalar("select id from inventory order by store_id, product_id");
    let rows: Vec<i64> = rows.fetch_all(&world.pool).await.unwrap();
    Shop {
        stores: [store, other],
        products: products.try_into().unwrap(),
        skus: skus.try_into().unwrap(),
        rows: rows.try_into().unwrap(),
    }
}

/// The clients, and what they have in common.
struct Session {
    servers: [SocketAddr; 2],
    shop: Shop,
    seed: u64,
    clients: Clients,
    next: AtomicUsize,
    count: usize,
    /// The quantities in the last responses.
    seen: [AtomicI32; ROWS],
    sent: Mutex<Vec<Sent>>,
    /// The movements of adjustments, by document.
    reversible: Mutex<Vec<Vec<Reversible>>>,
    orders: Mutex<Vec<Placed>>,
    in_transit: Mutex<Vec<Transit>>,
    predicted: AtomicUsize,
    repeated: AtomicUsize,
}

impl Session {
    /// Sends documents until none is left.
    async fn work(&self, client: usize) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let mut rng = StdRng::seed_from_u64(self.seed + number as u64);
            let seen = self
                .seen
                .each_ref()
                .map(|quantity| quantity.load(Ordering::Relaxed));
            let mut document = match (self.reversible(&mut rng), self.order(&mut rng)) {
                (Some(movements), _) => Document::reversal(number, &movements),
                (None, Some(order)) => Document::of_order(&mut rng, number, &order),
                (None, None) => match rng.random_range(0..10) {
                    0 => self.count(&mut rng, number).await,
                    1..=3 => self.transfer(&mut rng, number).await,
                    _ => Document::random(&mut rng, number, &seen),
                },
            };
            if document.kind == Kind::Order && rng.random_bool(0.4) {
                document.reservation = self.reserve(&mut rng, &document).await;
            }
            let server = self.servers[(client + number) % 2];
            if rng.random_bool(0.2) {
                self.predict(server, &document).await;
            }
            let answer = match document.kind {
                Kind::Patch => self.send_once(server, &document).await,
                Kind::StockCount => Some(self.apply(&mut rng, &document).await),
                _ => Some(self.send_until_answered(&mut rng, &document).await),
            };
            if let (Some(id), Some("REJECTED")) = (document.reservation, answer.as_ref().and_then(status)) {
                let reservation = self
                    .get(&mut rng, number, &format!("/api/reservations/{id}/"))
                    .await;
                assert_eq!(
                    reservation.body["stock_lost"], true,
                    "what is reserved is there: {}",
                    reservation.text
                );
            }
            if let Some(answer) = &answer {
                self.look(&document, answer);
            }
            self.sent.lock().unwrap().push(Sent { document, answer });
        }
    }

    /// Sometimes the movements of an adjustment, which may be reversed already.
    fn reversible(&self, rng: &mut StdRng) -> Option<Vec<Reversible>> {
        let all = self.reversible.lock().unwrap();
        all.choose(rng).filter(|_| rng.random_bool(0.15)).cloned()
    }

    /// Sometimes an order, of which some or all units may be cancelled or returned already.
    fn order(&self, rng: &mut StdRng) -> Option<Placed> {
        let all = self.orders.lock().unwrap();
        all.choose(rng).filter(|_| rng.random_bool(0.3)).cloned()
    }

    fn request(&self, server: SocketAddr, document: &Document, query: &str) -> reqwest::RequestBuilder {
        let (method, path, body) = document.request(&self.shop);
        let url = format!("http://{server}{path}{query}");
        self.clients
            .http
            .request(method.parse().unwrap(), url)
            .json(&body)
    }

    /// Sends a dry run. If it took effect, the ledger would have movements that no document explains.
    async fn predict(&self, server: SocketAddr, document: &Document) {
        let dry = Document {
            number: usize::MAX - document.number,
            ..document.clone()
        };
        let answer = self
            .clients
            .send(self.request(server, &dry, "?dry_run=true"))
            .await;
        if answer.is_some_and(|answer| answer.header("dry-run") == "true") {
            self.predicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn send_once(&self, server: SocketAddr, document: &Document) -> Option<Answer> {
        let answer = self.clients.send(self.request(server, document, "")).await?;
        (answer.status != 503).then_some(answer)
    }

    /// Sends a request under its key until it gets a final response.
    async fn until_answered(
        &self,
        rng: &mut StdRng,
        number: usize,
        request: impl Fn(SocketAddr) -> reqwest::RequestBuilder,
    ) -> Answer {
        let mut server = self.servers[number % 2];
        loop {
            match self.clients.send(request(server)).await {
                Some(answer) if answer.header("retry-after").is_empty() => return answer,
                Some(answer) => assert!([409, 503].contains(&answer.status.as_u16()), "{answer:?}"),
                None => server = self.servers[rng.random_range(0..2)],
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// Sends another POST of a document under a key of its own until it gets a final response.
    async fn post(&self, rng: &mut StdRng, number: usize, path: &str, body: &Value) -> Answer {
        let key = format!("{number} {path}").replace(['/', ' '], "-");
        self.until_answered(rng, number, |server| {
            let request = self.clients.http.post(format!("http://{server}{path}"));
            request.header("idempotency-key", &key).json(body)
        })
        .await
    }

    /// Sends a GET until it gets a final response.
    async fn get(&self, rng: &mut StdRng, number: usize, path: &str) -> Answer {
        self.until_answered(rng, number, |server| {
            self.clients.http.get(format!("http://{server}{path}"))
        })
        .await
    }

    /// Sends a POST under its key until it gets a final response. Repeats some afterwards, at any server.
    async fn send_until_answered(&self, rng: &mut StdRng, document: &Document) -> Answer {
        let keyed = |server| {
            let request = self.request(server, document, "");
            request.header("idempotency-key", document.tag().replace(' ', "-"))
        };
        let answer = self.until_answered(rng, document.number, keyed).await;
        if answer.status.is_success() && rng.random_bool(0.2) {
            let again = self
                .clients
                .send(keyed(self.servers[rng.random_range(0..2)]))
                .await;
            if let Some(again) = again.filter(|again| again.header("retry-after").is_empty()) {
                assert_eq!((again.status, &again.text), (answer.status, &answer.text));
                assert_eq!(again.header("idempotent-replayed"), "true");
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
        }
        answer
    }

    /// Remembers the quantities in a response, the movements of an adjustment, a confirmed order, and what is in transit.
    fn look(&self, document: &Document, answer: &Answer) {
        if answer.status.is_success() {
            self.in_transit
                .lock()
                .unwrap()
                .extend(document.in_transit.clone());
        }
        if document.kind == Kind::Order && answer.status == 201 {
            let units = document.steps.iter().map(|step| match step.change {
                Change::Add(delta) => (step.row, -delta),
                Change::Set(_) => panic!("an order takes units"),
            });
            self.orders.lock().unwrap().push(Placed {
                id: answer.body["id"].as_i64().unwrap(),
                units: units.collect(),
            });
        }
        if document.kind == Kind::Adjustment {
            let movements = movements(document, answer);
            self.reversible
                .lock()
                .unwrap()
                .extend((!movements.is_empty()).then_some(movements));
        }
        for (step, told) in document.steps.iter().zip(told(document, answer, &self.shop)) {
            if let Told::Done(Some(quantity)) | Told::Refused(_, Some(quantity)) = told {
                self.seen[step.row].store(quantity, Ordering::Relaxed);
            }
        }
    }
}
