//! What an operator sees. What is to come true is waited for.

use std::{path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use fantoccini::{Locator, elements::Element, error::CmdError};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Browser, PATIENCE, PHONE, Scheme, WIDE, hands::labelled};

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

impl Browser {
    /// The text that the page shows; blank while there is no page.
    pub async fn text(&self) -> String {
        let text = self.evaluate("document.body?.innerText").await;
        text.ok()
            .and_then(|text| Some(text.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// Whether an element is shown. The driver's own answer knows nothing of a closed `details` that is styled to be open.
    pub(super) async fn shows(&self, element: &Element) -> Result<bool, CmdError> {
        let script = "return arguments[0].checkVisibility({ visibilityProperty: true })";
        let element = serde_json::to_value(element).unwrap();
        Ok(self.client.execute(script, vec![element]).await? == true)
    }

    /// The text of the first element that a CSS selector finds, if there is one.
    pub async fn text_of(&self, selector: &str) -> Option<String> {
        let element = self.client.find(Locator::Css(selector)).await.ok()?;
        element.text().await.ok()
    }

    /// Path and query of where the browser is.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.as_str()
            .strip_prefix(&self.origin)
            .unwrap_or(url.as_str())
            .to_owned()
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        self.until(text, async || self.text().await.contains(text)).await;
    }

    /// Waits until the page no longer shows a text.
    pub async fn sees_no(&self, text: &str) {
        let what = format!("{text:?} is gone");
        self.until(&what, async || !self.text().await.contains(text))
            .await;
    }

    /// Waits until the browser is at a path, whatever the query.
    pub async fn arrives_at(&self, path: &str) {
        self.until(path, async || self.path().await.split('?').next() == Some(path))
            .await;
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() > deadline {
                let complaints = self.verdict().await.0;
                panic!(
                    "it does not come true: {what}. {} reads:\n{}\n{complaints:#?}",
                    self.path().await,
                    self.text().await
                );
            }
            sleep(PAUSE).await;
        }
    }

    /// The value of the field with this label; blank if there is none. One script reads it, as htmx may replace the field.
    pub async fn value_of(&self, label: &str) -> String {
        let script = "return document.evaluate(arguments[0], document, null, 9).singleNodeValue?.value ?? ''";
        let value = self.client.execute(script, vec![labelled(label).into()]).await;
        value.unwrap().as_str().unwrap().to_owned()
    }

    /// Whether what has the focus is on the screen and has an outline.
    pub async fn shows_the_focus(&self) -> bool {
        let script = "(e => {
            const { left, top, width, height } = e.getBoundingClientRect();
            const hit = document.elementFromPoint(left + width / 2, top + height / 2);
            return getComputedStyle(e).outlineStyle !== 'none' && (e === hit || e.contains(hit));
        })(document.activeElement)";
        self.evaluate(script).await.unwrap() == true
    }

    /// What has the focus: its text, or its name where it has none.
    pub async fn focused(&self) -> String {
        let script = "(e => (e.matches('a, button, summary') && e.innerText.trim()) || e.name || e.id || e.tagName)(document.activeElement)";
        self.evaluate(script).await.unwrap().as_str().unwrap().to_owned()
    }

    /// The text of the row of a table that holds `text` as a whole.
    pub async fn row_of(&self, text: &str) -> String {
        let path = format!("//tr[.//*[normalize-space()='{text}']]");
        let row = self.client.find(Locator::XPath(&path)).await.unwrap();
        row.text().await.unwrap()
    }

    /// Marks the page that is shown, to know it again: a page that is loaded anew has no mark.
    pub async fn marks_the_page(&self) {
        self.evaluate("document.marked = true").await.unwrap();
    }

    /// Whether the page is still the one that was marked.
    pub async fn is_the_marked_page(&self) -> bool {
        self.evaluate("document.marked === true").await.unwrap() == true
    }

    /// How many elements a CSS selector finds.
    pub async fn count(&self, selector: &str) -> usize {
        self.client.find_all(Locator::Css(selector)).await.unwrap().len()
    }

    /// Asserts that a page in a window of this width has nothing beside it.
    pub async fn fits(&self, width: u32) {
        let content = self.content_width().await;
        assert!(
            content <= u64::from(width),
            "{} is {content} pixels wide on {width}",
            self.path().await
        );
    }

    /// Asserts that the page fits a telephone and a desk, and that nothing in it keeps people out.
    pub async fn is_sound(&self) {
        for (width, scheme) in [(PHONE, Scheme::Dark), (WIDE, Scheme::Light)] {
            self.width(width).await;
            self.prefers(scheme).await;
            self.fits(width).await;
            let barriers = self.barriers().await;
            assert!(
                barriers.is_empty(),
                "{}, {width} wide, {scheme:?}: {barriers:#?}",
                self.path().await
            );
        }
    }

    /// How wide the page is, in pixels: wider than the window if something does not fit.
    async fn content_width(&self) -> u64 {
        let script = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)";
        self.evaluate(script).await.unwrap().as_u64().unwrap()
    }

    /// Takes a picture of the page, from top to bottom or as much as fits the window.
    pub async fn picture(&self, file: &Path, is_whole: bool) {
        let parameters = json!({ "format": "png", "captureBeyondViewport": is_whole });
        let picture = self.cdp("Page.captureScreenshot", parameters).await;
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}
