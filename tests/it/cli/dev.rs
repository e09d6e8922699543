//! `afforo dev` runs everything on this machine, and stops all of it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::test_kill_process;
use serde_json::Value;

use super::{Pid, Running, Signal, client, folder};
use crate::{
    console::PASSWORD,
    support::{
        app::{Answer, send},
        program::{afforo_in, eventually},
    },
};

/// A running `afforo dev`.
struct Dev {
    process: Running,
    base: String,
    order: Value,
}

impl Dev {
    async fn start(folder: &Path, args: &[&str]) -> Self {
        let mut line = vec!["dev", "127.0.0.1:0"];
        line.extend(args);
        let mut process = Running::start(&mut afforo_in(folder, &line));
        let curl = process.says("curl ").await;
        // The order of the banner.
        let base = curl
            .split_whitespace()
            .nth(1)
            .unwrap()
            .trim_end_matches("/api/orders/")
            .to_owned();
        let body = curl.split_once("-d '").unwrap().1.trim_end_matches('\'');
        let order = serde_json::from_str(body).unwrap();
        process.address().await;
        Self { process, base, order }
    }

    async fn get(&self, path: &str) -> Answer {
        send(client().get(format!("{}{path}", self.base))).await
    }

    async fn order(&self) -> Answer {
        send(
            client()
                .post(format!("{}/api/orders/", self.base))
                .json(&self.order),
        )
        .await
    }

    /// Creates the first account with the link in the banner and returns its session cookie.
    async fn set_up(&mut self) -> String {
        let link = self.process.says("/admin/setup/?token=").await;
        let token = link.split_once("token=").unwrap().1.trim().to_owned();
        let form = [
            ("token", token.as_str()),
            ("username", "ada"),
            ("password", PASSWORD),
            ("again", PASSWORD),
        ];
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = client().post(format!("{}/admin/setup/", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let made = send(request.body(body)).await;
        assert_eq!(made.status, 303, "{}", made.text);
        made.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// All descendants of the process.
    fn servers(&self) -> Vec<Pid> {
        let mut found = vec![self.process.pid()];
        let mut next = 0;
        while next < found.len() {
            // The system lists children by the thread that started them.
            let threads = fs::read_dir(format!("/proc/{}/task", found[next].as_raw_nonzero()));
            for thread in threads.into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                let children = children.split_whitespace();
                found.extend(children.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
            }
            next += 1;
        }
        found.split_off(1)
    }
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

async fn all_end(servers: &[Pid]) {
    eventually("the servers are gone", async || {
        !servers.iter().any(|pid| is_alive(*pid))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_ephemeral_needs_nothing_and_leaves_nothing() {
    let clone = folder();
    fs::write(clone.path().join("Cargo.toml"), "").unwrap();
    let inner = clone.path().join("docs");
    fs::create_dir(&inner).unwrap();
    let mut dev = Dev::start(&inner, &["--ephemeral"]).await;
    for part in [
        "Afforo is at http://127.0.0.1:",
        "/api/products/",
        "psql -h ",
        "/admin/setup/?token=",
        "Ctrl-C stops all of it.",
    ] {
        dev.process.says(part).await;
    }
    assert_eq!(dev.get("/api/products/").await.status, 200);
    let placed = dev.order().await.created();
    let line = dev.process.says("order confirmation sent").await;
    assert!(line.contains(&format!("order_id={placed}")), "{line}");
    let servers = dev.servers();
    assert!(
        servers.len() >= 4,
        "two servers and their supervisors: {servers:?}"
    );
    dev.process.signal(Signal::INT);
    assert_eq!(
        dev.process.ends().await.code(),
        Some(0),
        "{}",
        dev.process.output()
    );
    all_end(&servers).await;
    assert!(
        !clone.path().join(".afforo").exists() && !inner.join(".afforo").exists(),
        "nothing was kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_ephemeral_leaves_no_processes_after_kill_9() {
    let folder = folder();
    let mut dev = Dev::start(folder.path(), &["--ephemeral"]).await;
    let servers = dev.servers();
    assert!(servers.len() >= 4, "{servers:?}");
    dev.process.signal(Signal::KILL);
    dev.process.ends().await;
    all_end(&servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_keeps_its_data_between_runs() {
    let clone = folder();
    fs::write(clone.path().join("Cargo.toml"), "").unwrap();
    let inner = clone.path().join("src");
    fs::create_dir(&inner).unwrap();
    let mut dev = Dev::start(&inner, &[]).await;
    assert!(
        clone.path().join(".afforo").exists(),
        "in the clone, not below it"
    );
    let products = dev.get("/api/products/").await.body["count"].clone();
    let placed = dev.order().await.created();
    dev.process.says("order confirmation sent").await;
    let cookie = dev.set_up().await;
    let secret = fs::metadata(clone.path().join(".afforo/secret_key")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    let servers = dev.servers();
    dev.process.signal(Signal::TERM);
    assert_eq!(
        dev.process.ends().await.code(),
        Some(0),
        "{}",
        dev.process.output()
    );
    all_end(&servers).await;

    let mut dev = Dev::start(clone.path(), &[]).await;
    assert_eq!(
        dev.get("/api/products/").await.body["count"],
        products,
        "not seeded twice"
    );
    let kept = dev.get(&format!("/api/orders/{placed}/")).await;
    assert_eq!(
        (kept.status.as_u16(), &kept.body["status"]),
        (200, &"CONFIRMED".into())
    );
    assert_eq!(dev.order().await.created(), placed + 1);
    // The session stays valid, because the secret is the same. An account exists, so the banner has no link to create one.
    let console = client()
        .get(format!("{}/admin/", dev.base))
        .header("cookie", cookie);
    assert_eq!(send(console).await.status, 200);
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.ends().await.code(), Some(0));
    assert!(
        !dev.process.output().contains("/admin/setup/"),
        "{}",
        dev.process.output()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_on_a_taken_port_fails_before_anything_is_started() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = super::run(&mut afforo_in(folder.path(), &["dev", &address])).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains(&format!("cannot listen on {address}")),
        "{}",
        output.err
    );
    assert!(!folder.path().join(".afforo").exists());
}
