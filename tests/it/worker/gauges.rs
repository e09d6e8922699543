//! The gauges of waiting and dead work.

use std::collections::BTreeMap;

use afforo::{outbox::ConfirmOrders, worker};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Worker, execute, queues};
use crate::support::{app::TestApp, program::eventually};

/// Merges gauges and counters into earlier values, by name and labels. A snapshot resets all to zero, so the highest counts.
fn read(snapshotter: &Snapshotter, before: &mut BTreeMap<String, f64>) {
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> = key
            .key()
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{} {}", key.key().name(), labels.join(","));
        let value = match value {
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Counter(count) => f64::from(u32::try_from(count).unwrap()),
            DebugValue::Histogram(_) => continue,
        };
        let highest = before.entry(name).or_default();
        *highest = highest.max(value);
    }
}

/// The metrics task of a worker.
struct Measuring {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn measure(app: &TestApp) -> Measuring {
    let shutdown = CancellationToken::new();
    let measuring = worker::measure(app.pool.clone(), queues(app), shutdown.clone());
    Measuring {
        shutdown,
        task: tokio::spawn(measuring),
    }
}

impl Measuring {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

// On one thread, so that the worker's tasks see this test's recorder.
#[tokio::test]
async fn gauges_report_waiting_and_dead_work() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids, due_at, created_at)
         select array[n], now() + interval '1 h', now() - interval '1 h' from generate_series(1, 3) n;
         insert into outbox (order_ids, dead_at, created_at) values ('{9}', now(), now() - interval '1 day');
         insert into delivery (order_id, channel, due_at, dead_at, delivered_at)
         values (1, 'email', now(), null, null), (2, 'email', null, now(), null), (3, 'email', null, null, now())",
    )
    .await;
    let queues = queues(&app);
    let unknown = serde_json::from_value::<ConfirmOrders>(serde_json::json!({ "version": 9 })).unwrap();
    queues.confirmations.push("unknown", &unknown).await.unwrap();
    let worker = Worker::start(&app);
    let measuring = measure(&app);
    let mut seen = BTreeMap::new();
    eventually("the gauges are there", async || {
        read(&snapshotter, &mut seen);
        seen.get("afforo_queue_jobs queue=confirm-orders,state=dead") == Some(&1.0)
    })
    .await;
    measuring.stop().await;
    worker.stop().await;
    for (name, expected) in [
        ("afforo_outbox_rows ", 3.0),
        ("afforo_dead_letters kind=outbox", 1.0),
        ("afforo_dead_letters kind=delivery", 1.0),
        ("afforo_dead_letters kind=job", 1.0),
        ("afforo_deliveries_waiting channel=email", 1.0),
        ("afforo_deliveries_waiting channel=webhook", 0.0),
        ("afforo_queue_jobs queue=periodic,state=delayed", 0.0),
    ] {
        assert_eq!(seen.get(name), Some(&expected), "{name} in {seen:?}");
    }
    let oldest = seen["afforo_outbox_oldest_seconds "];
    assert!((3600.0..7200.0).contains(&oldest), "{oldest}");
    read(&snapshotter, &mut seen);
    let dead = seen.get("afforo_jobs_total queue=confirm-orders,outcome=dead");
    assert_eq!(dead, Some(&1.0), "{seen:?}");
}

#[tokio::test]
async fn oldest_outbox_age_grows_while_the_outbox_cannot_be_read() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::start().await;
    let measuring = measure(&app);
    let mut seen = BTreeMap::new();
    eventually("the gauges are read", async || {
        read(&snapshotter, &mut seen);
        seen.contains_key("afforo_outbox_oldest_seconds ")
    })
    .await;
    assert!(seen["afforo_outbox_oldest_seconds "] <= 0.0, "nothing is owed");
    execute(&app.pool, "alter table outbox rename to elsewhere").await;
    eventually("the gauge grows", async || {
        read(&snapshotter, &mut seen);
        seen["afforo_outbox_oldest_seconds "] > 0.0
    })
    .await;
    measuring.stop().await;
}

#[tokio::test]
async fn worker_without_metrics_reads_no_gauges() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::start().await;
    let worker = Worker::start(&app);
    let mut seen = BTreeMap::new();
    // The worker still counts its jobs, which shows that it ran.
    let unknown = serde_json::from_value::<ConfirmOrders>(serde_json::json!({ "version": 9 })).unwrap();
    queues(&app)
        .confirmations
        .push("unknown", &unknown)
        .await
        .unwrap();
    eventually("a job ran", async || {
        read(&snapshotter, &mut seen);
        seen.contains_key("afforo_jobs_total queue=confirm-orders,outcome=dead")
    })
    .await;
    worker.stop().await;
    assert!(!seen.contains_key("afforo_outbox_rows "), "{seen:?}");
}
