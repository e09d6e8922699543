//! Commits whose response is lost: a proxy in front of PostgreSQL cuts the connection at the commit.

use std::{path::PathBuf, time::Duration};

use afforo::{
    db::Database,
    order::{GroupCommit, Limits, NewItem, NewOrder, Outcome, PlaceError},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use crate::support::{
    app::{TestApp, send},
    servers,
};

/// `COMMIT` as it is sent to PostgreSQL.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// The fault of the connection that sends the first commit. Later commits pass.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// The commit is made, but its response is lost.
    AnswerLost,
    /// The commit does not arrive.
    NeverSent,
    /// The connection is lost for the client long before PostgreSQL gets the commit.
    Late,
    /// The commit is made, its response is lost, and later connections are refused.
    ThenAway,
    /// Every connection is refused.
    Away,
}

/// A proxy in front of the tests' PostgreSQL.
struct Proxy {
    port: u16,
    hits: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hit, hits) = watch::channel(0);
        let socket = servers::postgres().socket_dir().join(".s.PGSQL.5432");
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if fault == Fault::Away {
                    hit.send_replace(1);
                } else if fault != Fault::ThenAway || *hit.borrow() == 0 {
                    tokio::spawn(pass(client, socket.clone(), fault, hit.clone()));
                }
            }
        });
        Self { port, hits, task }
    }

    fn url(&self, app: &TestApp) -> String {
        let name = app.database_url.rsplit('/').next().unwrap();
        format!(
            "postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable",
            self.port
        )
    }

    fn hits(&self) -> usize {
        *self.hits.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards bytes between client and server until the fault.
async fn pass(mut client: TcpStream, socket: PathBuf, fault: Fault, hit: watch::Sender<usize>) {
    let (mut answers, mut server) = UnixStream::connect(socket).await.unwrap().into_split();
    let (mut request, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(size @ 1..) = read else { return };
                let request = &request[..size];
                if request.windows(COMMIT.len()).any(|part| part == COMMIT) && *hit.borrow() == 0 {
                    hit.send_replace(1);
                    return lose(client, (&mut answers, &mut server), request, fault).await;
                }
                server.write_all(request).await.unwrap();
            }
            read = answers.read(&mut answered) => {
                let Ok(size @ 1..) = read else { return };
                if client.write_all(&answered[..size]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn lose(
    client: TcpStream,
    (answers, server): (&mut OwnedReadHalf, &mut OwnedWriteHalf),
    commit: &[u8],
    fault: Fault,
) {
    match fault {
        Fault::NeverSent | Fault::Away => {}
        Fault::AnswerLost | Fault::ThenAway => {
            server.write_all(commit).await.unwrap();
            assert!(answers.read(&mut [0; 1024]).await.unwrap() > 0);
        }
        Fault::Late => {
            drop(client);
            sleep(Duration::from_millis(500)).await;
            server.write_all(commit).await.unwrap();
            assert!(answers.read(&mut [0; 1024]).await.unwrap() > 0);
        }
    }
}

/// A store with 100 lamps, and lanes that reach the database through a proxy.
struct Shop {
    app: TestApp,
    proxy: Proxy,
    lanes: GroupCommit,
    order: NewOrder,
    stock: i64,
}

impl Shop {
    async fn open(fault: Fault) -> Self {
        let app = TestApp::start().await;
        let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
        let stock = app.stock(store, lamp, 100).await;
        let proxy = Proxy::start(fault).await;
        let database = Database::new(&proxy.url(&app), 1, 1).unwrap();
        let limits = Limits {
            commit_check_timeout: Duration::from_secs(if fault == Fault::ThenAway { 0 } else { 10 }),
            ..Limits::with_lanes(1)
        };
        let lanes = GroupCommit::start(&database.placement, limits);
        let item = NewItem {
            product_id: lamp,
            quantity: 1.into(),
            price: None,
        };
        let order = NewOrder::new(store, vec![item]);
        Self {
            app,
            proxy,
            lanes,
            order,
            stock,
        }
    }

    async fn place(&self) -> Result<Outcome, PlaceError> {
        self.lanes.place(self.order.clone(), None).await
    }

    async fn orders(&self) -> Vec<i64> {
        sqlx::query_scalar("select id from orders order by id")
            .fetch_all(&self.app.pool)
            .await
            .unwrap()
    }
}

async fn are_all_placed_once(fault: Fault) {
    let shop = Shop::open(fault).await;
    let decisions = join_all((0..30).map(|_| shop.place())).await;
    assert_eq!(shop.proxy.hits(), 1);
    let mut placed: Vec<i64> = decisions
        .into_iter()
        .map(|decision| match decision {
            Ok(Outcome::Placed(order)) => order.id,
            other => panic!("{other:?}"),
        })
        .collect();
    placed.sort_unstable();
    assert_eq!(shop.orders().await, placed);
    assert_eq!(shop.app.quantity(shop.stock).await, 70);
    assert!(shop.app.unbalanced().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_answered_although_the_reply_to_their_commit_was_lost() {
    are_all_placed_once(Fault::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_commit_was_never_sent_are_placed_again() {
    are_all_placed_once(Fault::NeverSent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_still_in_progress_is_waited_for() {
    are_all_placed_once(Fault::Late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_whose_commit_cannot_be_resolved_fails_as_commit_unknown() {
    let shop = Shop::open(Fault::ThenAway).await;
    let decision = shop.place().await;
    assert!(matches!(decision, Err(PlaceError::CommitUnknown)), "{decision:?}");
    assert_eq!(shop.orders().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_with_a_lost_commit_reply_gets_503_and_is_replayed_by_key() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(Fault::AnswerLost).await;
    let through = app.beside_on(&proxy.url(&app)).await;
    let create = || {
        let request = through.request(Method::POST, "/api/categories/");
        send(
            request
                .header("idempotency-key", "lost")
                .json(&json!({ "name": "Lamps" })),
        )
    };
    let answer = create().await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.text.contains("this may or may not have taken effect"),
        "{}",
        answer.text
    );
    assert_eq!(proxy.hits(), 1);
    let again = create().await;
    again.created();
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(app.get("/api/categories/").await.body["count"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_with_a_lost_commit_reply_reports_an_unknown_outcome() {
    for (method, is_known) in [
        (Method::PATCH, false),
        (Method::DELETE, false),
        (Method::GET, true),
    ] {
        let app = TestApp::start().await;
        let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
        let path = format!("/api/inventory/{}/", app.stock(store, lamp, 100).await);
        let proxy = Proxy::start(if is_known { Fault::Away } else { Fault::AnswerLost }).await;
        let through = app.beside_on(&proxy.url(&app)).await;
        let request = through.request(method.clone(), &path);
        let answer = send(request.json(&json!({ "quantity": 5 }))).await;
        assert_eq!(answer.status, 503, "{method}");
        assert_eq!(
            answer.text.contains("this may or may not have taken effect"),
            !is_known,
            "{method}: {}",
            answer.text
        );
        assert_eq!(answer.header("allow"), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS");
        assert_eq!(proxy.hits(), 1, "{method}");
    }
}
