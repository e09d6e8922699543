//! Requests that fill the log.

use super::{Target, size};

#[tokio::test]
async fn refused_requests_log_ten_short_lines_per_minute() {
    let target = Target::start(&[("API_AUTH", "all")]).await;
    let request = format!(
        "GET /api/products/{}/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "9".repeat(60_000)
    );
    for _ in 0..size(20) {
        let mut strangers = target.flood(10, &request).await;
        for stranger in &mut strangers {
            assert_eq!(stranger.status().await, 401);
        }
    }
    let output = target.survives().await;
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("request to the API refused"))
        .collect();
    // The test may last for more than one minute.
    assert!((10..=50).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.len() < 1000), "{}", lines[0]);
    assert!(lines[0].contains("left_out=0"), "{}", lines[0]);
}
