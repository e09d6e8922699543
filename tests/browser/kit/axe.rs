//! axe-core looks at a page as assistive technology does.

use serde_json::Value;

use super::Browser;

const AXE: &str = include_str!("../axe.min.js");

/// What keeps people from using a page: of each violation its rule, and the elements that it is about. The page has had two
/// frames to settle in.
const RUN: &str = r#"
const [done] = arguments;
const run = () => axe.run(document, { resultTypes: ["violations"] }).then(
    ({ violations }) => done(violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`))),
    (error) => done([`axe failed: ${error}`]));
requestAnimationFrame(() => requestAnimationFrame(run));
"#;

impl Browser {
    /// The serious and critical violations of the page that is shown.
    pub async fn barriers(&self) -> Vec<String> {
        if self.evaluate("typeof axe").await.unwrap() == "undefined" {
            self.client.execute(AXE, Vec::new()).await.unwrap();
        }
        let found = self.client.execute_async(RUN, Vec::new()).await.unwrap();
        let texts = found.as_array().unwrap().iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }
}
