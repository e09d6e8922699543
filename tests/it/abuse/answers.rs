//! Responses that clients do not read.

use serde_json::json;

use super::{PEAK, Target, size};
use crate::support::app::{client, send};

#[tokio::test]
async fn unread_script_is_in_memory_once() {
    let target = Target::start(&[]).await;
    let request =
        "GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n";
    let plain = request.replace("accept-encoding: gzip\r\n", "");
    let strangers = target.flood(size(100), request).await;
    let others = target.flood(size(20), &plain).await;
    target.serves_others().await;
    drop((strangers, others));
    target.survives().await;
}

#[tokio::test]
async fn unread_long_lists_take_bounded_memory() {
    let target = Target::start(&[]).await;
    let category = target.app.category("Lamps").await;
    for number in 0..20 {
        // All words differ, so that compression does not shorten the body.
        let words = (0..8_000).map(|word| {
            let word = (number * 10_000 + word) * 0x9e37_79b9_7f4a_7c15_u128;
            format!("{:016x} ", word & u128::from(u64::MAX))
        });
        let body = json!({
            "title": format!("Lamp {number}"), "price": "1", "category_id": category,
            "description": words.collect::<String>(),
        });
        target.app.post("/api/products/", &body).await.created();
    }
    for accept in ["accept-encoding: gzip\r\n", ""] {
        let request = format!("GET /api/products/ HTTP/1.1\r\nhost: localhost\r\n{accept}\r\n");
        let mut strangers = target.flood(size(60), &request).await;
        let mut refused = 0;
        for stranger in &mut strangers {
            match stranger.status().await {
                200 => {}
                503 => refused += 1,
                status => panic!("{status}"),
            }
        }
        assert!(refused > 0, "the server refused some requests");
        for _ in 0..5 {
            let answer = send(client().get(format!("http://{}/api/stores/", target.address))).await;
            assert_eq!(answer.status, 200, "short answers need no room: {}", answer.text);
        }
    }
    target.survives_within(PEAK).await;
}

#[tokio::test]
async fn head_requests_for_long_responses_take_no_memory() {
    let target = Target::start(&[]).await;
    let request =
        "HEAD /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n";
    let strangers = target.flood(size(40), &request.repeat(20)).await;
    target.serves_others().await;
    drop(strangers);
    target.survives().await;
}
