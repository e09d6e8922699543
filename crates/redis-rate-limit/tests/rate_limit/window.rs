//! The sliding window: exact for any number of processes at any time.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use devstack::Redis;
use futures::{StreamExt, future::join_all};
use redis::AsyncCommands;
use redis_rate_limit::RateLimitConfig;

use super::{ALICE, app, ask, client, connect, header, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_20_of_40_parallel_requests_pass() {
    let redis = Redis::throwaway().unwrap();
    let app = app(&redis, patient());
    let answers = join_all((0..40).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, ALICE).await.status() })
    }));
    let statuses: Vec<_> = answers.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        statuses
            .iter()
            .filter(|&&status| status == StatusCode::OK)
            .count(),
        20
    );
    assert_eq!(
        statuses
            .iter()
            .filter(|&&status| status == StatusCode::TOO_MANY_REQUESTS)
            .count(),
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_holds_more_than_the_limit() {
    const LIMIT: usize = 5;
    const WINDOW: Duration = Duration::from_millis(300);
    let redis = Redis::throwaway().unwrap();
    let record = tokio::spawn(recorded_times(client(&redis)));
    let deadline = Instant::now() + 7 * WINDOW;
    let clients = (0..4).map(|_| {
        let app = app(
            &redis,
            RateLimitConfig {
                limit: 5,
                window: WINDOW,
                ..patient()
            },
        );
        tokio::spawn(async move {
            let mut passed = 0;
            while Instant::now() < deadline {
                passed += usize::from(ask(&app, ALICE).await.status() == StatusCode::OK);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            passed
        })
    });
    let passed: usize = join_all(clients).await.into_iter().map(Result::unwrap).sum();
    let _: String = redis::cmd("ECHO")
        .arg("over")
        .query_async(&mut connect(&redis).await)
        .await
        .unwrap();
    let times = record.await.unwrap();

    assert_eq!(times.len(), passed, "each request that passed was counted once");
    for window in times.windows(LIMIT + 1) {
        let micros = window[LIMIT] - window[0];
        assert!(
            u128::from(micros) >= WINDOW.as_micros(),
            "{} requests within {micros} µs",
            LIMIT + 1
        );
    }
    assert!(passed >= 5 * LIMIT, "only {passed} passed in seven windows");
}

#[tokio::test]
async fn two_processes_share_a_count() {
    let redis = Redis::throwaway().unwrap();
    let (first, second) = (app(&redis, patient()), app(&redis, patient()));
    for remaining in (0..20).rev() {
        let app = if remaining % 3 == 0 { &first } else { &second };
        let answer = ask(app, ALICE).await;
        assert_eq!(header(&answer, "x-ratelimit-remaining"), remaining.to_string());
    }
    assert_eq!(ask(&first, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask(&second, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn limiters_of_different_names_count_separately() {
    let redis = Redis::throwaway().unwrap();
    let suggest = app(
        &redis,
        RateLimitConfig {
            limit: 1,
            name: "suggest",
            ..patient()
        },
    );
    let login = app(
        &redis,
        RateLimitConfig {
            limit: 1,
            name: "login",
            ..patient()
        },
    );
    assert_eq!(ask(&suggest, ALICE).await.status(), StatusCode::OK);
    assert_eq!(ask(&login, ALICE).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn client_passes_after_the_retry_after_time() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 2,
            window: Duration::from_secs(1),
            ..patient()
        },
    );
    ask(&app, ALICE).await;
    ask(&app, ALICE).await;
    let answer = ask(&app, ALICE).await;
    assert_eq!(header(&answer, "retry-after"), "1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn state_of_a_client_is_bounded_and_expires() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 5,
            window: Duration::from_millis(400),
            ..patient()
        },
    );
    for _ in 0..30 {
        ask(&app, ALICE).await;
    }
    let mut connection = connect(&redis).await;
    let key = format!("rate_limit:autocomplete:{ALICE}");
    let (kept, lifetime): (u32, i64) = redis::pipe()
        .llen(&key)
        .pttl(&key)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(
        kept <= 5 && (1..=401).contains(&lifetime),
        "{kept} times, {lifetime} ms"
    );
    let expired = async {
        while !connection.keys::<_, Vec<String>>("*").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let expired = tokio::time::timeout(Duration::from_secs(30), expired).await;
    assert!(expired.is_ok(), "keys stay");
}

#[tokio::test]
async fn clock_set_back_blocks_a_client_for_one_window_at_most() {
    let redis = Redis::throwaway().unwrap();
    let app = app(
        &redis,
        RateLimitConfig {
            limit: 3,
            window: Duration::from_millis(300),
            ..patient()
        },
    );
    for _ in 0..3 {
        ask(&app, ALICE).await;
    }
    // Moving the stored times an hour ahead looks to the script like a clock set back by an hour.
    let mut connection = connect(&redis).await;
    let key = format!("rate_limit:autocomplete:{ALICE}");
    let times: Vec<u64> = connection.lrange(&key, 0, -1).await.unwrap();
    for (index, time) in (0..).zip(times) {
        let () = connection.lset(&key, index, time + 3_600_000_000).await.unwrap();
    }
    let () = connection.persist(&key).await.unwrap();

    let answer = ask(&app, ALICE).await;
    assert_eq!(
        answer.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "a clock set back grants no extra request"
    );
    assert_eq!(header(&answer, "retry-after"), "1");
    tokio::time::sleep(Duration::from_millis(310)).await;
    for _ in 0..3 {
        assert_eq!(ask(&app, ALICE).await.status(), StatusCode::OK);
    }
    assert_eq!(ask(&app, ALICE).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// The times in microseconds that the script stores, until an `ECHO over` ends the recording.
async fn recorded_times(client: redis::Client) -> Vec<u64> {
    let mut commands = client
        .get_async_monitor()
        .await
        .unwrap()
        .into_on_message::<String>();
    let mut times = Vec::new();
    while let Some(command) = commands.next().await {
        if command.contains(r#""ECHO" "over""#) {
            break;
        }
        // Such as: 1700000000.123456 [0 lua] "RPUSH" "rate_limit:autocomplete:198.51.100.1"
        // "1700000000123456"
        if command.contains(r#""RPUSH""#) && command.contains(ALICE) {
            times.push(command.rsplit('"').nth(1).unwrap().parse().unwrap());
        }
    }
    times
}
