//! What a browser's logs say about the pages that it was shown.

use serde_json::Value;

/// The entries that are complaints, violations of the content security policy among them, but for those expected.
pub fn complaints(log: &[Value], expected: &[&str]) -> Vec<String> {
    log.iter()
        .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
        .filter_map(|entry| entry["message"].as_str())
        .filter(|message| !expected.iter().any(|text| message.contains(text)))
        .map(str::to_owned)
        .collect()
}

/// What was asked of others than the server.
pub fn foreign(log: &[Value], origin: &str) -> Vec<String> {
    let home = format!("{origin}/");
    log.iter()
        .filter_map(requested)
        .filter(|url| !url.starts_with(&home) && !url.starts_with("data:") && url != "about:blank")
        .collect()
}

/// The address of a request that an entry of the performance log tells of.
fn requested(entry: &Value) -> Option<String> {
    let text = entry["message"].as_str()?;
    let event: Value = serde_json::from_str(text).ok()?;
    let is_request = event["message"]["method"] == "Network.requestWillBeSent";
    is_request.then(|| {
        event["message"]["params"]["request"]["url"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    })
}
