//! Forms, query strings and headers with thousands of parts.

use super::{Target, size};

fn pairs(bytes: usize) -> String {
    "a&".repeat(bytes / 2)
}

fn form(body: &str) -> String {
    format!(
        "POST /admin/login/ HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn long_form_before_login_is_rejected_with_413() {
    let target = Target::start(&[]).await;
    let request = form(&pairs(1024 * 1024));
    let mut strangers = target.flood(size(40), &request).await;
    for stranger in &mut strangers {
        assert_eq!(stranger.status().await, 413);
    }
    target.survives().await;
}

#[tokio::test]
async fn short_form_of_many_fields_before_login_is_rejected_with_413() {
    let target = Target::start(&[]).await;
    let mut strangers = target.flood(size(40), &form(&pairs(16 * 1024))).await;
    for stranger in &mut strangers {
        assert_eq!(stranger.status().await, 413);
    }
    target.survives().await;
}

#[tokio::test]
async fn long_query_strings_are_rejected_everywhere() {
    let target = Target::start(&[]).await;
    for (length, status) in [(60_000, 414), (8_000, 400)] {
        for path in ["/admin/login/", "/api/products/", "/api/nowhere/"] {
            let query = pairs(length);
            let request = format!("GET {path}?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            let mut strangers = target.flood(size(40), &request).await;
            for stranger in &mut strangers {
                assert_eq!(stranger.status().await, status, "{path}");
            }
        }
    }
    target.survives().await;
}

#[tokio::test]
async fn long_lists_in_headers_cost_no_more_than_their_bytes() {
    let target = Target::start(&[]).await;
    for (name, one) in [
        (
            "cookie",
            "afforo-session=0123456789012345678901234567890123456789012345678901234567890123=; ",
        ),
        ("cookie", "a; "),
        ("accept", "A/B,"),
        ("accept-encoding", "br;q=0.1,"),
        ("if-none-match", "\"a\","),
        ("x-forwarded-for", "::1,"),
        ("access-control-request-headers", "a,"),
    ] {
        let value = one.repeat(60_000 / one.len());
        for path in ["/admin/login/", "/api/products/"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\n\r\n");
            let mut strangers = target.flood(size(20), &request).await;
            for stranger in &mut strangers {
                let status = stranger.status().await;
                assert!([200, 406].contains(&status), "{name} {path}: {status}");
            }
        }
    }
    target.survives().await;
}
